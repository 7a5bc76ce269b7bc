// The target `rootfs`: an image as the list of its layers' folders, which the local provider mounts with overlayfs.
#pragma once

#include <filesystem>
#include <vector>

#include "bake/store.h"

namespace kiln::image {

// Lowest first. Error naming the layer that is no longer in the store.
std::vector<std::filesystem::path> rootfs_folders(const bake::Store& store, const bake::Image& image);

// What an image takes on the disk, every layer counted once.
std::int64_t size_bytes(const bake::Image& image);

}  // namespace kiln::image
