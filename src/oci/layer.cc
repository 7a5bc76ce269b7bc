#include "oci/layer.h"

#include <set>

#include "base/error.h"
#include "base/files.h"
#include "oci/archive_reader.h"

namespace kiln::oci {

namespace {

constexpr std::int64_t kUnpackedBytes = std::int64_t{1} << 30;
constexpr std::int64_t kMostRatio = 250;
constexpr std::string_view kWhiteout = ".wh.", kOpaque = ".wh..wh..opq", kPrivate = ".wh..wh.";

class LayerWriter {
 public:
  LayerWriter(ArchiveReader& archive, TreeWriter& tree, Whiteouts whiteouts) : archive_(archive), tree_(tree), whiteouts_(whiteouts) {}

  void add(archive_entry* entry) {
    const std::string path = tree_.resolve(archive_.path_of(entry));
    const std::string name = path.substr(path.rfind('/') + 1);
    if (name == kOpaque) {
      // Of a folder that was made in this very layer there is nothing to hide.
      const std::string folder = path.substr(0, path.size() - name.size());
      const std::string path_of_folder = folder.empty() ? folder : folder.substr(0, folder.size() - 1);
      if (whiteouts_ == Whiteouts::kKeep)
        tree_.hide_all(path_of_folder);
      else
        hide_below(path_of_folder);
    } else if (name.starts_with(kPrivate)) {
      return;  // AUFS's own notes
    } else if (name.starts_with(kWhiteout)) {
      const std::string hidden = name.substr(kWhiteout.size());
      if (hidden.empty() || hidden == "." || hidden == "..") fail("'{}' hides nothing that can be", path);
      const std::string at = path.substr(0, path.size() - name.size()) + hidden;
      if (whiteouts_ == Whiteouts::kKeep) {
        if (made_.count(at) == 0) tree_.hide(at);
        return;
      }
      // A whiteout speaks of the layers below, wherever in the archive it stands.
      if (made_.count(at) != 0)
        hide_below(at);
      else
        tree_.remove(at);
    } else if (tree_.write(archive_, entry, path)) {
      note(path);
    }
  }

 private:
  void note(const std::string& path) {
    for (std::string at = path; !at.empty() && made_.insert(at).second;) {
      const auto slash = at.rfind('/');
      at = slash == std::string::npos ? std::string() : at.substr(0, slash);
    }
  }
  // Takes away what is in the folder and not of this layer.
  void hide_below(const std::string& folder) {
    if (!tree_.is_folder(folder)) return;
    for (const auto& name : tree_.names_in(folder)) {
      const std::string path = folder.empty() ? name : folder + "/" + name;
      if (made_.count(path) == 0)
        tree_.remove(path);
      else
        hide_below(path);
    }
  }

  ArchiveReader& archive_;
  TreeWriter& tree_;
  Whiteouts whiteouts_;
  std::set<std::string> made_;  // what is of this layer, with the folders that hold it
};

}  // namespace

void apply_layer(Fd blob, const Descriptor& descriptor, const std::string& name, TreeWriter& tree, Whiteouts whiteouts) {
  ArchiveOptions options;
  options.digest = !descriptor.digest.empty();
  options.most_bytes = kUnpackedBytes + kMostRatio * descriptor.size_bytes;
  ArchiveReader archive(std::move(blob), name, options);
  LayerWriter layer(archive, tree, whiteouts);
  while (archive_entry* entry = archive.next()) layer.add(entry);
  const auto whole = archive.finish();
  if (!options.digest) return;
  if (whole.size_bytes != descriptor.size_bytes || whole.digest != descriptor.digest)
    fail("'{}' is corrupt: {} bytes with the digest {}, expected {} with {}", name, whole.size_bytes, whole.digest, descriptor.size_bytes,
         descriptor.digest);
}

void unpack_layer(const LayerFile& layer, const fs::path& folder) {
  TreeWriter tree(folder, limits_by_free_space(folder));
  check_layer_type(layer.blob.media_type);
  apply_layer(ArchiveReader::open(layer.file), layer.blob, layer.file.native(), tree, Whiteouts::kKeep);
  tree.finish();
}

void apply_layers(const std::vector<LayerFile>& layers, const fs::path& folder) {
  TreeWriter tree(folder, limits_by_free_space(folder));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    with_context(fmt::format("unpacking layer {} of {}, {}", i + 1, layers.size(), layers[i].blob.digest.substr(0, 19)), [&] {
      check_layer_type(layers[i].blob.media_type);
      apply_layer(ArchiveReader::open(layers[i].file), layers[i].blob, layers[i].file.native(), tree);
    });
  }
  tree.finish();
}

}  // namespace kiln::oci
