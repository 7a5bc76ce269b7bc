// What container images are made of, read from what others wrote (OCI image spec 1.1, Docker's schema 2): descriptors, manifests, indexes,
// configs. Nothing in them is believed: each text is checked against the digest that led to it, sizes and numbers have limits, and what
// kiln does not know is refused by name.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"

namespace kiln::oci {

// Media types of the OCI image spec: what kiln writes.
inline constexpr const char* kManifestType = "application/vnd.oci.image.manifest.v1+json";
inline constexpr const char* kIndexType = "application/vnd.oci.image.index.v1+json";
inline constexpr const char* kConfigType = "application/vnd.oci.image.config.v1+json";

// The distribution spec's own limit for manifests; configs, which are as small, get the same.
inline constexpr std::size_t kMaxManifestBytes = 4 << 20;

// A blob as a descriptor names it (OCI image spec, descriptor.md).
struct Descriptor {
  std::string media_type;
  std::string digest;  // "sha256:HEX"
  std::int64_t size_bytes = 0;
  std::string hex() const { return digest.substr(digest.find(':') + 1); }
};

struct Document {
  Descriptor descriptor;
  std::string text;
};

// The media types of manifests and indexes that can be read: for a registry's Accept header.
const std::vector<std::string>& manifest_types();

// One image for one architecture.
struct ImageManifest {
  Descriptor manifest, config;
  std::vector<Descriptor> layers;  // lowest first
  std::string manifest_text, config_text;
};

// One of those that an index names.
struct IndexEntry {
  Descriptor descriptor;
  std::string os, architecture;  // empty where it does not say
  std::string name;              // org.opencontainers.image.ref.name: a layout's tag
};
// Error naming what is wrong.
std::vector<IndexEntry> parse_index(const std::string& text);

// Gets a document that a descriptor names; its digest is checked by choose_image().
using ReadDocument = std::function<std::string(const Descriptor& descriptor)>;

// From a manifest, or from an index (or one within one) the one for linux and `architecture`, with its config. Error when there is none,
// with those that there are; when it is no image (an artifact), of a kind that kiln does not read, or damaged.
ImageManifest choose_image(const Document& root, const std::string& architecture, const ReadDocument& read);

// A manifest alone, for what was chosen before.
ImageManifest read_image(const Document& manifest);

// What a layer's media type says of its tar; Error for one that cannot be unpacked.
void check_layer_type(const std::string& media_type);

}  // namespace kiln::oci
