#include "image/rootfs.h"

#include "base/error.h"

namespace kiln::image {

std::vector<std::filesystem::path> rootfs_folders(const bake::Store& store, const bake::Image& image) {
  std::vector<std::filesystem::path> folders;
  for (const auto& layer : image.layers) {
    auto folder = store.layer_folder(layer.key);
    if (!std::filesystem::is_directory(folder)) {
      Error error(fmt::format("image '{}': the layer '{}' is not in the store: there is no '{}'", image.name, layer.name, folder.native()));
      error.set_hint("kiln bake " + (image.spec_file.empty() ? image.name : image.spec_file) + " makes it again");
      throw error;
    }
    folders.push_back(std::move(folder));
  }
  return folders;
}

std::int64_t size_bytes(const bake::Image& image) {
  std::int64_t sum = 0;
  for (const auto& layer : image.layers) sum += layer.size_bytes;
  return sum;
}

}  // namespace kiln::image
