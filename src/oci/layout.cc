#include "oci/layout.h"

#include <unistd.h>

#include <algorithm>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"
#include "oci/archive_reader.h"

namespace kiln::oci {

namespace {

// "./index.json" → "index.json"
std::string plain(const std::string& path) { return fs::path(path).relative_path().lexically_normal().native(); }

std::string read_entry(ArchiveReader& archive, std::size_t most_bytes) {
  std::string text;
  const void* bytes = nullptr;
  std::size_t count = 0;
  std::int64_t offset = 0;
  while (archive.read_block(bytes, count, offset)) {
    if (text.size() + count > most_bytes) fail("a manifest or config in the archive is larger than {} bytes", most_bytes);
    text.append(static_cast<const char*>(bytes), count);
  }
  return text;
}

// A new file whose bytes must be what the descriptor says.
class CheckedFile {
 public:
  CheckedFile(const Descriptor& blob, const fs::path& path) : blob_(blob), file_(path) {}
  void write(std::string_view bytes) {
    size_bytes_ += static_cast<std::int64_t>(bytes.size());
    if (size_bytes_ > blob_.size_bytes)
      fail("the blob {} is longer than the {} bytes that the manifest says", blob_.digest, blob_.size_bytes);
    hash_.update(bytes);
    file_.write(bytes);
  }
  void finish() {
    const std::string digest = "sha256:" + hash_.hex();
    if (size_bytes_ != blob_.size_bytes) fail("the blob {} has {} of {} bytes", blob_.digest, size_bytes_, blob_.size_bytes);
    if (digest != blob_.digest) fail("the blob {} is corrupt: its digest is {}", blob_.digest, digest);
    file_.sync();
  }

 private:
  const Descriptor& blob_;
  OutputFile file_;
  Sha256 hash_;
  std::int64_t size_bytes_ = 0;
};

}  // namespace

Layout::Layout(const fs::path& place) : place_(place), folder_(fs::is_directory(place)) {
  if (!fs::exists(place)) fail_usage("there is no '{}'", place.native());
  if (!folder_) {
    open_archive();
  } else if (auto index = read_file_if_there(place / "index.json")) {
    index_ = std::move(*index);
  }
  if (!index_.empty()) return;
  UsageError error(fmt::format("'{}' is no OCI layout: it has no index.json", place.native()));
  error.set_hint("`skopeo copy docker://… oci:FOLDER:TAG` makes one; a root file system in a tar file is a 'tarball:'");
  throw error;
}

fs::path Layout::blob_path(const Descriptor& blob) const { return fs::path("blobs/sha256") / blob.hex(); }

// Remembers the small files; of the large ones nothing is read.
void Layout::open_archive() {
  ArchiveOptions options;
  options.any_format = true;
  ArchiveReader archive(ArchiveReader::open(place_), place_.native(), options);
  std::string docker;
  std::map<std::string, std::int64_t> sizes;
  constexpr std::int64_t kMostTogether = 64 << 20;
  std::int64_t together = 0;
  while (archive_entry* entry = archive.next()) {
    if (archive_entry_filetype(entry) != AE_IFREG) continue;
    const std::string path = plain(archive.path_of(entry));
    const std::int64_t size_bytes = archive_entry_size(entry);
    sizes[path] = size_bytes;
    constexpr std::int64_t kText = 1 << 18;  // larger ones, which are rare, are looked for when they are asked for
    const bool root = path == "index.json" || path == "manifest.json";
    if (!root && (size_bytes > kText || together > kMostTogether)) continue;
    together += size_bytes;
    std::string text = read_entry(archive, kMaxManifestBytes);
    if (path == "index.json")
      index_ = std::move(text);
    else if (path == "manifest.json")
      docker = std::move(text);
    else
      texts_[path] = std::move(text);
  }
  if (index_.empty() && !docker.empty()) read_docker_manifest(docker, sizes);
}

// [{"Config": path, "RepoTags": [name…], "Layers": [path…]}…] → an index of manifests as the spec has them.
void Layout::read_docker_manifest(const std::string& text, const std::map<std::string, std::int64_t>& sizes) {
  const Json list = Json::parse(text, nullptr, false);
  Json manifests = Json::array();
  try {
    for (const auto& item : list) {
      const std::string config = texts_.at(plain(item.at("Config").get<std::string>()));
      const Json diff_ids = Json::parse(config).at("rootfs").at("diff_ids");
      Json layers = Json::array();
      const Json& paths = item.at("Layers");
      for (std::size_t i = 0; i < paths.size(); ++i) {
        const std::string path = plain(paths.at(i).get<std::string>()), digest = diff_ids.at(i);
        layers.push_back({{"mediaType", "application/vnd.oci.image.layer.v1.tar"}, {"digest", digest}, {"size", sizes.at(path)}});
        elsewhere_["blobs/sha256/" + digest.substr(digest.find(':') + 1)] = path;
      }
      const std::string config_hex = sha256_hex(config);
      texts_["blobs/sha256/" + config_hex] = config;
      const Json manifest = {
          {"schemaVersion", 2},
          {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
          {"config",
           {{"mediaType", "application/vnd.oci.image.config.v1+json"}, {"digest", "sha256:" + config_hex}, {"size", config.size()}}},
          {"layers", layers}};
      const std::string made = manifest.dump(), hex = sha256_hex(made);
      texts_["blobs/sha256/" + hex] = made;
      Json entry = {{"mediaType", manifest["mediaType"]}, {"digest", "sha256:" + hex}, {"size", made.size()}};
      const Json tags = item.value("RepoTags", Json::array());
      if (tags.is_array() && !tags.empty()) {
        const std::string tag = tags[0];
        entry["annotations"] = {{"org.opencontainers.image.ref.name", tag.substr(tag.rfind(':') + 1)}};
      }
      manifests.push_back(entry);
    }
  } catch (const std::exception&) {
    fail("'{}' is damaged: its manifest.json does not fit what is in it", place_.native());
  }
  index_ = Json{{"schemaVersion", 2}, {"mediaType", kIndexType}, {"manifests", manifests}}.dump();
}

Document Layout::root(const std::string& tag) const {
  const auto entries = with_context("reading index.json of '" + place_.native() + "'", [&] { return parse_index(index_); });
  std::vector<std::string> names;
  std::set<std::string> digests;
  for (const auto& entry : entries) {
    if (!entry.name.empty()) names.push_back(entry.name);
    digests.insert(entry.descriptor.digest);
  }
  const auto whole = [&] { return Document{{kIndexType, "", static_cast<std::int64_t>(index_.size())}, index_}; };
  if (tag.empty()) {
    // Entries without names, or one name: one image, perhaps for several architectures.
    const bool one = digests.size() == 1 || std::set<std::string>(names.begin(), names.end()).size() <= 1;
    if (one && digests.size() > 1) return whole();
    if (one && !entries.empty()) return {entries[0].descriptor, read(entries[0].descriptor)};
    UsageError error(fmt::format("'{}' holds {} images", place_.native(), digests.size()));
    error.set_hint(names.empty() ? "an image is needed"
                                 : fmt::format("name one: {}:{} (there are: {})", place_.filename().native(), names[0], join(names, ", ")));
    throw error;
  }
  for (const auto& entry : entries) {
    // Some write the whole reference where others write the tag.
    if (entry.name == tag || entry.name.ends_with(":" + tag)) return {entry.descriptor, read(entry.descriptor)};
  }
  UsageError error(fmt::format("'{}' has no image '{}'", place_.native(), tag));
  error.set_hint(names.empty() ? "its images have no names" : "there are: " + join(names, ", "));
  throw error;
}

std::vector<Document> Layout::roots() const {
  std::vector<Document> roots;
  for (const auto& entry : parse_index(index_)) {
    try {
      roots.push_back({entry.descriptor, read(entry.descriptor)});
    } catch (const Error&) {
      // It is named but gone; another may be there.
    }
  }
  return roots;
}

std::string Layout::read(const Descriptor& blob) const {
  const std::string path = blob_path(blob).native();
  if (blob.size_bytes > static_cast<std::int64_t>(kMaxManifestBytes))
    fail("the manifest or config {} is larger than {} bytes", blob.digest, kMaxManifestBytes);
  if (folder_) {
    std::error_code error;
    if (!fs::is_regular_file(place_ / path, error)) fail("'{}' lacks '{}'", place_.native(), path);
    if (fs::file_size(place_ / path) != static_cast<std::uintmax_t>(blob.size_bytes))
      fail("'{}' is damaged: it is not {} bytes large", (place_ / path).native(), blob.size_bytes);
    return read_file(place_ / path);
  }
  if (const auto found = texts_.find(path); found != texts_.end()) return found->second;
  ArchiveOptions options;
  options.any_format = true;
  ArchiveReader archive(ArchiveReader::open(place_), place_.native(), options);
  while (archive_entry* entry = archive.next()) {
    if (plain(archive.path_of(entry)) == path) return read_entry(archive, kMaxManifestBytes);
  }
  fail("'{}' lacks '{}'", place_.native(), path);
}

void Layout::copy(const std::vector<Descriptor>& blobs, const std::map<std::string, fs::path>& files) const {
  std::map<std::string, Descriptor> wanted;  // by path
  for (const auto& blob : blobs) {
    const std::string path = blob_path(blob).native();
    const auto elsewhere = elsewhere_.find(path);
    wanted.emplace(elsewhere != elsewhere_.end() ? elsewhere->second : path, blob);
  }
  if (folder_) {
    for (const auto& [path, blob] : wanted) {
      std::error_code error;
      if (!fs::is_regular_file(place_ / path, error)) fail("'{}' lacks '{}'", place_.native(), path);
      const Fd in = ArchiveReader::open(place_ / path);
      CheckedFile out(blob, files.at(blob.hex()));
      std::vector<char> buffer(1 << 20);
      for (ssize_t count; (count = ::read(in.get(), buffer.data(), buffer.size())) > 0;)
        out.write({buffer.data(), static_cast<std::size_t>(count)});
      out.finish();
    }
    return;
  }
  for (auto it = wanted.begin(); it != wanted.end();) {
    const auto text = texts_.find(it->first);
    if (text == texts_.end()) {
      ++it;
      continue;
    }
    CheckedFile out(it->second, files.at(it->second.hex()));
    out.write(text->second);
    out.finish();
    it = wanted.erase(it);
  }
  ArchiveOptions options;
  options.any_format = true;
  ArchiveReader archive(ArchiveReader::open(place_), place_.native(), options);
  while (archive_entry* entry = wanted.empty() ? nullptr : archive.next()) {
    const auto found = wanted.find(plain(archive.path_of(entry)));
    if (found == wanted.end() || archive_entry_filetype(entry) != AE_IFREG) continue;
    CheckedFile out(found->second, files.at(found->second.hex()));
    const void* bytes = nullptr;
    std::size_t count = 0;
    std::int64_t offset = 0;
    while (archive.read_block(bytes, count, offset)) out.write({static_cast<const char*>(bytes), count});
    out.finish();
    wanted.erase(found);
  }
  if (!wanted.empty()) fail("'{}' lacks '{}'", place_.native(), wanted.begin()->first);
}

}  // namespace kiln::oci
