// OCI layers: each layer of the store as a tar, compressed, under its digest. They are made once and shared by every image, archive and
// push that has the layer:
//   HOME/oci/blobs/sha256/HEX           what an OCI layout has there
//   HOME/oci/layers/KEY-COMPRESSION.json {digest, size_bytes, diff_id, media_type}
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "bake/store.h"
#include "oci/manifest.h"

namespace kiln::image {

enum class Compression { kGzip, kZstd };
// "gzip", "zstd"; UsageError naming `what` for another word.
Compression parse_compression(const std::string& what, const std::string& text);
std::string compression_name(Compression compression);

using Blob = oci::Descriptor;

struct OciLayer {
  Blob blob;
  std::string diff_id;  // digest of the tar itself
};

// The blob's file in the store; it may not be there.
std::filesystem::path blob_file(const bake::Store& store, const std::string& digest);

// The layer's blob; made when it is not there (by one maker at a time). What is whited out in the layer is told in OCI's way (.wh.NAME,
// .wh..wh..opq). The same layer gives the same bytes anywhere: sorted, numeric owners, no times but what the files have.
OciLayer make_oci_layer(const bake::Store& store, const bake::Layer& layer, Compression compression);

// A blob that is made of text (a config, a manifest).
Blob add_text_blob(const bake::Store& store, const std::string& media_type, const std::string& text);

}  // namespace kiln::image
