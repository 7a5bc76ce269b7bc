// OCI layers onto a folder, one after the other (OCI image spec, layer.md): a tar of what is new or changed, in which ".wh.NAME" says that
// NAME of the layers below is gone, and ".wh..wh..opq" that all of a folder is.
//
// Limits: a layer may unpack to 1 GiB and 250 times its size (gzip itself ends at 1030; system images have 2 to 10), and never to more than
// the file system has room for; a single file to 1 TiB, holes included. tree_writer.h says what keeps it in its place.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "oci/manifest.h"
#include "oci/tree_writer.h"

namespace kiln::oci {

struct LayerFile {
  Descriptor blob;
  std::filesystem::path file;
};

// Error naming the layer and the entry. What was written until then stays; the folder is to be thrown away.
void apply_layers(const std::vector<LayerFile>& layers, const std::filesystem::path& folder);

// What becomes of whiteouts: they take away what is there, or stay, in overlayfs's form, for a layer that is to lie on others.
enum class Whiteouts { kApply, kKeep };

// One of them; `name` is for errors. With a digest its bytes are checked, after they were unpacked.
void apply_layer(Fd blob, const Descriptor& descriptor, const std::string& name, TreeWriter& tree, Whiteouts whiteouts = Whiteouts::kApply);

// One of them as a layer of its own, into an empty folder.
void unpack_layer(const LayerFile& layer, const std::filesystem::path& folder);

}  // namespace kiln::oci
