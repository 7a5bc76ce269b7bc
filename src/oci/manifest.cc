#include "oci/manifest.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"

namespace kiln::oci {

namespace {

constexpr const char* kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
constexpr const char* kDockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json";
constexpr const char* kConfigs[] = {kConfigType, "application/vnd.docker.container.image.v1+json"};
constexpr const char* kLayers[] = {"application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip",
                                   "application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.docker.image.rootfs.diff.tar",
                                   "application/vnd.docker.image.rootfs.diff.tar.gzip"};

constexpr std::size_t kMostDepth = 4;       // of indexes in indexes; tools make two
constexpr std::size_t kMostLayers = 1000;   // docker stops at 127
constexpr std::size_t kMostEntries = 1000;  // of an index
constexpr std::int64_t kMostBlobBytes = std::int64_t{1} << 40;

const Json& member(const Json& json, const char* name, Json::value_t type, const char* what) {
  const auto found = json.is_object() ? json.find(name) : json.end();
  if (!json.is_object() || found == json.end()) fail("{} lacks '{}'", what, name);
  const bool number = type == Json::value_t::number_integer && found->is_number_integer();
  if (found->type() != type && !number) fail("'{}' of {} is no {}", name, what, Json(type).type_name());
  return *found;
}

std::string text_of(const Json& json, const char* name) {
  const auto found = json.is_object() ? json.find(name) : json.end();
  return json.is_object() && found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Json parse_object(const std::string& text, const char* what) {
  if (text.size() > kMaxManifestBytes) fail("{} is larger than {} bytes", what, kMaxManifestBytes);
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) fail("{} is no JSON object", what);
  return json;
}

void check_digest(const std::string& digest) {
  constexpr std::size_t kHexDigits = 64;
  if (!digest.starts_with("sha256:") || digest.size() != 7 + kHexDigits ||
      digest.find_first_not_of("0123456789abcdef", 7) != std::string::npos)
    fail("'{}' is no SHA-256 digest", digest.substr(0, 100));
}

Descriptor parse_descriptor(const Json& json, const char* what) {
  Descriptor descriptor{member(json, "mediaType", Json::value_t::string, what), member(json, "digest", Json::value_t::string, what), 0};
  check_digest(descriptor.digest);
  const Json& size = member(json, "size", Json::value_t::number_integer, what);
  if (size < 0 || size > kMostBlobBytes) fail("{} cannot be {} bytes large", what, size.dump());
  descriptor.size_bytes = size;
  return descriptor;
}

bool is_index(const Descriptor& descriptor, const Json& json) {
  const std::string type =
      descriptor.media_type == kIndexType || descriptor.media_type == kDockerIndex ? descriptor.media_type : text_of(json, "mediaType");
  return type == kIndexType || type == kDockerIndex || (type.empty() && json.contains("manifests"));
}

std::vector<IndexEntry> entries_of(const Json& index) {
  const Json& list = member(index, "manifests", Json::value_t::array, "the index");
  if (list.size() > kMostEntries) fail("the index names {} manifests, at most {} are read", list.size(), kMostEntries);
  std::vector<IndexEntry> entries;
  for (const auto& item : list) {
    IndexEntry entry{parse_descriptor(item, "an entry of the index"), "", "", ""};
    if (const auto platform = item.find("platform"); platform != item.end()) {
      entry.os = text_of(*platform, "os");
      entry.architecture = text_of(*platform, "architecture");
    }
    if (const auto annotations = item.find("annotations"); annotations != item.end())
      entry.name = text_of(*annotations, "org.opencontainers.image.ref.name");
    entries.push_back(std::move(entry));
  }
  return entries;
}

std::string read_checked(const Descriptor& descriptor, const ReadDocument& read, const char* what) {
  if (descriptor.size_bytes > static_cast<std::int64_t>(kMaxManifestBytes))
    fail("{} {} is larger than {} bytes", what, descriptor.digest, kMaxManifestBytes);
  std::string text = read(descriptor);
  if (const std::string digest = "sha256:" + sha256_hex(text); digest != descriptor.digest)
    fail("{} is corrupt: its digest is {}, expected {}", what, digest, descriptor.digest);
  return text;
}

// "linux/arm64, linux/amd64": without those that stand for no machine (signatures, provenance).
std::string platforms(const std::vector<IndexEntry>& entries) {
  std::vector<std::string> names;
  for (const auto& entry : entries) {
    const std::string name = entry.os + "/" + entry.architecture;
    if (entry.os != "unknown" && !entry.architecture.empty() && std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(name);
  }
  return names.empty() ? "none" : join(names, ", ");
}

[[noreturn]] void refuse_architecture(const std::string& wanted, const std::string& there) {
  Error error(fmt::format("the image is not for linux/{}; it is for: {}", wanted, there));
  error.set_hint("'architecture:' in the spec says what is baked");
  throw error;
}

// Of the config only what decides: whether its files can be used at all.
void check_config(const ImageManifest& image, const std::string& architecture) {
  const Json config = parse_object(image.config_text, "the image's config");
  const std::string os = text_of(config, "os"), is_for = text_of(config, "architecture");
  if ((!os.empty() && os != "linux") || (!is_for.empty() && is_for != architecture)) refuse_architecture(architecture, os + "/" + is_for);
  const Json& rootfs = member(config, "rootfs", Json::value_t::object, "the image's config");
  const Json& diff_ids = member(rootfs, "diff_ids", Json::value_t::array, "the image's config");
  if (diff_ids.size() != image.layers.size())
    fail("the image is damaged: its manifest names {} layers, its config {}", image.layers.size(), diff_ids.size());
}

ImageManifest parse_manifest(const Descriptor& descriptor, const std::string& text, const Json& json) {
  if (json.value("schemaVersion", Json()) != 2) {
    Error error("the manifest is of a kind that kiln does not read (schema 1, or no image's at all)");
    error.set_hint("a current docker or skopeo writes the image anew: skopeo copy --format oci …");
    throw error;
  }
  ImageManifest image{
      descriptor, parse_descriptor(member(json, "config", Json::value_t::object, "the manifest"), "the config"), {}, text, {}};
  image.manifest.media_type = text_of(json, "mediaType").empty() ? descriptor.media_type : text_of(json, "mediaType");
  if (std::find(std::begin(kConfigs), std::end(kConfigs), image.config.media_type) == std::end(kConfigs))
    fail("this is no image of a machine: its config is a '{}'", image.config.media_type.substr(0, 100));
  const Json& layers = member(json, "layers", Json::value_t::array, "the manifest");
  if (layers.size() > kMostLayers) fail("the image has {} layers, at most {} are read", layers.size(), kMostLayers);
  for (const auto& layer : layers) {
    image.layers.push_back(parse_descriptor(layer, "a layer"));
    check_layer_type(image.layers.back().media_type);
  }
  return image;
}

}  // namespace

const std::vector<std::string>& manifest_types() {
  static const std::vector<std::string> kTypes = {kIndexType, kDockerIndex, kManifestType, kDockerManifest};
  return kTypes;
}

std::vector<IndexEntry> parse_index(const std::string& text) { return entries_of(parse_object(text, "the index")); }

void check_layer_type(const std::string& media_type) {
  if (std::find(std::begin(kLayers), std::end(kLayers), media_type) != std::end(kLayers)) return;
  Error error(fmt::format("a layer is of a type that cannot be unpacked: '{}'", media_type.substr(0, 100)));
  if (media_type.find("foreign") != std::string::npos || media_type.find("nondistributable") != std::string::npos)
    error.set_hint("such a layer lies elsewhere than the image, for legal reasons");
  throw error;
}

ImageManifest read_image(const Document& manifest) {
  return parse_manifest(manifest.descriptor, manifest.text, parse_object(manifest.text, "the manifest"));
}

ImageManifest choose_image(const Document& root, const std::string& architecture, const ReadDocument& read) {
  Descriptor descriptor = root.descriptor;
  std::string text = root.text;
  for (std::size_t depth = 0; depth < kMostDepth; ++depth) {
    const Json json = parse_object(text, "the manifest");
    if (!is_index(descriptor, json)) {
      ImageManifest image = parse_manifest(descriptor, text, json);
      image.config_text = read_checked(image.config, read, "the image's config");
      check_config(image, architecture);
      return image;
    }
    const auto entries = entries_of(json);
    auto found = std::find_if(entries.begin(), entries.end(),
                              [&](const auto& entry) { return entry.os == "linux" && entry.architecture == architecture; });
    // An entry that does not say what it is for, alone: its config will say.
    if (found == entries.end() && entries.size() == 1 && entries[0].architecture.empty()) found = entries.begin();
    if (found == entries.end()) refuse_architecture(architecture, platforms(entries));
    descriptor = found->descriptor;
    text = read_checked(descriptor, read, "the manifest");
  }
  fail("the image's indexes name each other more than {} deep", kMostDepth);
}

}  // namespace kiln::oci
