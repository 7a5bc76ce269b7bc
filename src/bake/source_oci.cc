// oci: an image from a registry or from a layout on this machine, as the files that its manifest names.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <mutex>

#include "bake/source_kinds.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/parallel.h"
#include "oci/layout.h"
#include "oci/registry.h"

namespace kiln::bake {

namespace {

// A registry's line is the limit, not the number of connections.
constexpr std::size_t kAtATime = 4;

SourceRecord record_of(const oci::ImageManifest& image, const std::string& from) {
  SourceRecord record{image.manifest.hex(), false, "manifest.json", from, {}};
  record.files.push_back({"manifest.json", image.manifest.hex(), from});
  record.files.push_back({"config.json", image.config.hex(), from});
  for (std::size_t i = 0; i < image.layers.size(); ++i)
    record.files.push_back({fmt::format("layer-{}", i + 1), image.layers[i].hex(), from});
  return record;
}

std::string describe(const config::SourceLocation& location) {
  return "oci: " + location.what.at(0) + (location.ref.empty() ? "" : ":" + location.ref);
}

// With a digest it is that one, also when the layout has given its name to another.
oci::ImageManifest image_in(const oci::Layout& layout, const config::SourceLocation& location, const std::string& architecture) {
  const auto choose = [&](const oci::Document& root) {
    return oci::choose_image(root, architecture, [&](const oci::Descriptor& blob) { return layout.read(blob); });
  };
  if (location.sha256.empty()) return choose(layout.root(location.ref));
  for (const auto& root : layout.roots()) {
    try {
      if (auto image = choose(root); image.manifest.hex() == location.sha256) return image;
    } catch (const Error&) {
      // For another architecture, or nothing that kiln reads: not the one that is looked for.
    }
  }
  Error error(fmt::format("'{}' does not hold the image sha256:{}", location.what.at(0), location.sha256));
  error.set_hint("that is what was locked; `--lock` records what is there now");
  throw error;
}

// The image's blobs, each once, that are not in the store.
std::vector<oci::Descriptor> missing_blobs(const Store& store, const oci::ImageManifest& image) {
  std::vector<oci::Descriptor> missing;
  const auto add = [&](const oci::Descriptor& blob) {
    const bool listed = std::any_of(missing.begin(), missing.end(), [&](const auto& other) { return other.digest == blob.digest; });
    std::error_code error;
    const bool there =
        static_cast<std::int64_t>(fs::file_size(store.home() / "sources/sha256" / blob.hex(), error)) == blob.size_bytes && !error;
    if (!listed && !there) missing.push_back(blob);
  };
  add(image.config);
  for (const auto& layer : image.layers) add(layer);
  return missing;
}

// Readable by everybody: in a cell it may be somebody else who reads it.
void keep(const Store& store, const fs::path& file, const oci::Descriptor& blob) {
  const fs::path target = store.folder("sources/sha256") / blob.hex();
  if (::chmod(file.c_str(), 0644) != 0 || ::rename(file.c_str(), target.c_str()) != 0)
    fail("cannot put '{}' into the store: {}", target.native(), errno_text(errno));
}

// Last of all: who finds the manifest finds the rest.
void keep_manifest(const Store& store, const oci::ImageManifest& image) {
  write_file_atomically(store.folder("sources/sha256") / image.manifest.hex(), image.manifest_text);
}

SourceRecord copy_layout(const Store& store, const config::SourceLocation& location, const std::string& architecture) {
  const oci::Layout layout(location.what.at(0));
  const auto image = image_in(layout, location, architecture);
  const auto missing = missing_blobs(store, image);
  const WorkFolder work = store.make_work_folder();
  std::map<std::string, fs::path> files;
  for (const auto& blob : missing) files[blob.hex()] = work.path() / blob.hex();
  layout.copy(missing, files);
  for (const auto& blob : missing) keep(store, files.at(blob.hex()), blob);
  keep_manifest(store, image);
  return record_of(image, describe(location));
}

void fetch_blob(const Store& store, oci::Registry& registry, const oci::Descriptor& blob,
                const std::function<void(std::int64_t)>& on_progress) {
  const FileLock lock = store.lock("download-" + blob.hex().substr(0, 32), "the download of " + blob.digest);
  std::error_code error;
  if (fs::exists(store.home() / "sources/sha256" / blob.hex(), error)) return;
  const fs::path part = store.folder("sources/partial") / (blob.hex() + ".part");
  registry.get_blob(blob, part, on_progress);
  keep(store, part, blob);
}

}  // namespace

bool is_layout(const config::SourceLocation& location) {
  return location.kind == config::SourceLocation::Kind::kOci && location.what.at(0).starts_with('/');
}

bool is_in_registry(const config::SourceLocation& location) {
  return location.kind == config::SourceLocation::Kind::kOci && !is_layout(location);
}

SourceRecord look_at_layout(const config::SourceLocation& location, const std::string& architecture) {
  return record_of(image_in(oci::Layout(location.what.at(0)), location, architecture), describe(location));
}

SourceRecord fetch_oci(const Store& store, const config::SourceLocation& location, const std::string& architecture, const HttpOptions& http,
                       const ByteProgress& on_progress) {
  if (is_layout(location)) return copy_layout(store, location, architecture);
  auto reference = config::parse_reference(location.what.at(0));
  if (!location.sha256.empty()) reference.digest = "sha256:" + location.sha256;
  oci::RegistryOptions options;
  options.attempts = http.attempts;
  options.first_delay = http.first_delay;
  oci::Registry registry(reference, options);
  const auto read = [&](const oci::Descriptor& blob) {
    const auto& types = oci::manifest_types();
    if (std::find(types.begin(), types.end(), blob.media_type) != types.end()) return registry.get_manifest(blob.digest).text;
    fetch_blob(store, registry, blob, {});
    return read_file(store.home() / "sources/sha256" / blob.hex());
  };
  const auto image = oci::choose_image(registry.get_manifest(reference.manifest()), architecture, read);
  const auto missing = missing_blobs(store, image);
  std::mutex lock;
  std::vector<std::int64_t> done(missing.size());
  std::int64_t total = 0;
  for (const auto& blob : missing) total += blob.size_bytes;
  parallel_for(missing.size(), kAtATime, [&](std::size_t index) {
    fetch_blob(store, registry, missing[index], [&](std::int64_t bytes) {
      const std::lock_guard guard(lock);
      done[index] = bytes;
      std::int64_t sum = 0;
      for (const auto count : done) sum += count;
      if (on_progress) on_progress(sum, total);
    });
  });
  keep_manifest(store, image);
  return record_of(image, describe(location));
}

std::optional<SourceRequest> base_request(const config::ImageSpec& spec) {
  if (spec.base.kind != config::BaseSpec::Kind::kOci) return std::nullopt;
  config::SourceLocation location;
  location.kind = config::SourceLocation::Kind::kOci;
  location.what = {spec.base.oci};
  location.ref = spec.base.tag;
  SourceRequest request;
  request.spec = {"image", {location}};
  request.architecture = spec.architecture;
  return request;
}

std::vector<oci::LayerFile> base_layers(const Sources& sources, const SourceRecord& record) {
  const fs::path manifest = sources.path_of(record);
  const oci::Document root{{"", "sha256:" + record.digest, 0}, read_file(manifest)};
  const auto image = oci::read_image(root);
  std::vector<oci::LayerFile> layers;
  for (const auto& blob : image.layers) layers.push_back({blob, manifest.parent_path() / blob.hex()});
  return layers;
}

}  // namespace kiln::bake
