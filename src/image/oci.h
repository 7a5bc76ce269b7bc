// The target `oci`: an image as container engines know it (OCI image spec 1.1): a manifest, a config and one blob for each layer, in the
// store's oci/ folder; from there as a layout folder, as an archive that `docker load` reads, or to a registry (registry.h).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "image/oci_layer.h"

namespace kiln::image {

struct OciImage {
  Blob manifest, config;
  std::vector<OciLayer> layers;  // lowest first
  std::string architecture;
};

// Makes the blobs that are not there, `jobs` layers at the same time. The same image gives the same digests anywhere.
OciImage make_oci_image(const bake::Store& store, const bake::Image& image, Compression compression, std::size_t jobs);

// The label of an image's config that holds what kiln knows of it: `kiln image import` makes the image of it again.
inline constexpr const char* kRecordLabel = "io.kiln.image.record";

// What an index needs to name an image of one architecture among several.
struct OciIndex {
  Blob index;
  std::vector<OciImage> images;
};
// UsageError when two of them are of one architecture.
OciIndex make_oci_index(const bake::Store& store, std::vector<OciImage> images);

// An OCI layout in a new folder (or one that is an OCI layout already, to which it is added), with `reference` as its name.
// One image stands for itself, several behind an index.
void write_layout(const bake::Store& store, const std::vector<OciImage>& images, const std::string& reference,
                  const std::filesystem::path& folder);

// The same in one tar file, with the manifest.json that `docker load` reads. `file` is replaced in one step.
void write_archive(const bake::Store& store, const std::vector<OciImage>& images, const std::string& reference, std::int64_t epoch,
                   const std::filesystem::path& file);

}  // namespace kiln::image
