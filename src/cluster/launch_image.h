// The image a launch stands on: the one that is asked for, with what the launch adds to it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bake/bake.h"
#include "config/cluster_spec.h"
#include "config/node_document.h"

namespace kiln::cluster {

struct LaunchImage {
  bake::Image image;
  std::vector<config::NodeDocument::ModuleParams> params;  // of every module of it, as this launch gives them
  std::vector<std::string> added;                          // modules that the image by this name lacks
  // Held until a cluster speaks for the layers that no image's record does: gc has to wait so long.
  std::optional<FileLock> in_use;
};

// The image by its name in the store; a spec's path, or a shipped spec that was never baked, is baked first. Then, where the launch asks
// for it: a parameter that installation depends on (another version) makes the layers anew that it concerns, and a module that the image
// lacks is installed on top. Both are kept in the store as layers; the image of that name stays what it is.
// UsageError for a module or parameter that is not there, before anything is made.
LaunchImage image_for_launch(bake::Store& store, const config::ClusterSpec& spec, const bake::BakeOptions& options);

}  // namespace kiln::cluster
