// The image a launch stands on: the one that is asked for, with what the launch adds to it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bake/bake.h"
#include "bake/parcel.h"
#include "config/cluster_spec.h"
#include "config/node_document.h"
#include "provider/provider.h"

namespace kiln::cluster {

// Makes an image of the provider's of one of this machine's store; what the provider calls it.
using KeepImage = std::function<provider::ImageRef(const bake::Image&)>;

struct LaunchImage {
  bake::Image image;
  std::vector<config::NodeDocument::ModuleParams> params;  // of every module of it, as this launch gives them
  std::vector<std::string> added;                          // modules that the image by this name lacks
  // Held until a cluster speaks for the layers that no image's record does: gc has to wait so long.
  std::optional<FileLock> in_use;
  // What a stock image's machines are to be given; parcel_file is there as long as somebody holds it.
  std::optional<provider::ParcelRef> parcel = {};
  std::shared_ptr<bake::Parcel> parcel_file = {};
};

// The image by its name in the store; a spec's path, or a shipped spec that was never baked, is baked first. Then, where the launch asks
// for it: a parameter that installation depends on (another version) makes the layers anew that it concerns, and a module that the image
// lacks is installed on top. Both are kept in the store as layers; the image of that name stays what it is.
// UsageError for a module or parameter that is not there, before anything is made.
LaunchImage image_for_launch(bake::Store& store, const config::ClusterSpec& spec, const bake::BakeOptions& options);

// What is known here of an image that the provider keeps: its modules, when this machine's store has an image of the same digest. Then what
// the launch asks for beyond it is installed as with image_for_launch(), and `keep` makes an image of the provider's of that, which
// `remote` is from there on; without `keep` nothing is made. Of an image that was baked elsewhere the nodes' own agents know the modules,
// and only they can tell a wrong parameter; UsageError for one that would have to be installed.
LaunchImage remote_image_for_launch(bake::Store& store, const config::ClusterSpec& spec, provider::ImageRef& remote,
                                    const bake::BakeOptions& options, const KeepImage& keep);

// Of an image that has nothing of kiln: the modules that it gets, and all they need, in a parcel. `is_preview`: only what is known without
// it. Errors as with image_for_launch().
LaunchImage stock_image_for_launch(bake::Store& store, const config::ClusterSpec& spec, const provider::ImageRef& stock,
                                   const bake::BakeOptions& options, bool is_preview);

}  // namespace kiln::cluster
