#include "image/oci_layer.h"

#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"
#include "container/cell.h"
#include "image/tar_writer.h"

namespace kiln::image {

namespace {

// Counts how kiln makes blobs of layers: another number, and all are made anew.
constexpr int kBlobFormat = 3;

// Runs as root of the files' namespace, which for an ordinary user no process outside of a cell is.
Json layer_job(const Json& arguments) {
  const fs::path folder = arguments.at("folder").get<std::string>(), out = arguments.at("out").get<std::string>();
  Sha256 tar_digest, blob_digest;
  std::int64_t size_bytes = 0;
  OutputFile file(out);
  Compressor compressor(arguments.at("compression"), [&](std::string_view bytes) {
    blob_digest.update(bytes);
    size_bytes += static_cast<std::int64_t>(bytes.size());
    file.write(bytes);
  });
  TarWriter tar([&](std::string_view bytes) {
    tar_digest.update(bytes);
    compressor.write(bytes);
  });
  tar.add_layer(folder);
  tar.finish();
  compressor.finish();
  file.sync();
  return {{"digest", "sha256:" + blob_digest.hex()}, {"diff_id", "sha256:" + tar_digest.hex()}, {"size_bytes", size_bytes}};
}

const container::RegisterCellJob kLayer{"image.layer", layer_job};

std::optional<OciLayer> find_oci_layer(const bake::Store& store, const fs::path& record) {
  const auto text = read_file_if_there(record);
  if (!text) return std::nullopt;
  const Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object() || json.value("format", 0) != kBlobFormat) return std::nullopt;
  OciLayer layer{{json.value("media_type", ""), json.value("digest", ""), json.value("size_bytes", std::int64_t{0})},
                 json.value("diff_id", "")};
  std::error_code error;
  // Cut or lost: made again.
  if (static_cast<std::int64_t>(fs::file_size(blob_file(store, layer.blob.digest), error)) != layer.blob.size_bytes || error)
    return std::nullopt;
  return layer;
}

}  // namespace

Compression parse_compression(const std::string& what, const std::string& text) {
  if (text == "gzip") return Compression::kGzip;
  if (text == "zstd") return Compression::kZstd;
  UsageError error(fmt::format("{} {}: expected gzip or zstd", what, text));
  error.set_hint("gzip is read everywhere; zstd is faster and needs a container engine of 2022 or later");
  throw error;
}

std::string compression_name(Compression compression) { return compression == Compression::kGzip ? "gzip" : "zstd"; }

fs::path blob_file(const bake::Store& store, const std::string& digest) {
  const auto colon = digest.find(':');
  if (colon == std::string::npos) fail("'{}' is no digest", digest);
  return store.home() / "oci/blobs" / digest.substr(0, colon) / digest.substr(colon + 1);
}

OciLayer make_oci_layer(const bake::Store& store, const bake::Layer& layer, Compression compression) {
  const std::string name = compression_name(compression);
  const fs::path record = store.folder("oci/layers") / (layer.key + "-" + name + ".json");
  if (const auto there = find_oci_layer(store, record)) return *there;
  const FileLock one_maker = store.lock(sha256_hex("oci " + layer.key + name), "the OCI layer '" + layer.name + "'");
  if (const auto there = find_oci_layer(store, record)) return *there;

  Activity activity("oci " + layer.name);
  const auto work = store.make_work_folder();
  const fs::path out = work.path() / "blob";
  const Json made = container::run_in_cell(
      "image.layer", {{"folder", store.layer_folder(layer.key).native()}, {"out", out.native()}, {"compression", name}});
  const OciLayer result{{"application/vnd.oci.image.layer.v1.tar+" + name, made.at("digest"), made.at("size_bytes")}, made.at("diff_id")};
  store.folder("oci/blobs/sha256");
  fs::rename(out, blob_file(store, result.blob.digest));
  // Last: who finds the record finds the blob.
  write_file_atomically(record, Json{{"format", kBlobFormat},
                                     {"media_type", result.blob.media_type},
                                     {"digest", result.blob.digest},
                                     {"size_bytes", result.blob.size_bytes},
                                     {"diff_id", result.diff_id}}
                                        .dump(1) +
                                    "\n");
  activity.finish({{"size_bytes", result.blob.size_bytes}});
  return result;
}

Blob add_text_blob(const bake::Store& store, const std::string& media_type, const std::string& text) {
  store.folder("oci/blobs/sha256");
  const Blob blob{media_type, "sha256:" + sha256_hex(text), static_cast<std::int64_t>(text.size())};
  const fs::path file = blob_file(store, blob.digest);
  if (!fs::exists(file)) write_file_atomically(file, text);
  return blob;
}

}  // namespace kiln::image
