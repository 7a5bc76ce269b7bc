#include "image/import.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "bake/bake.h"
#include "bake/layer_files.h"
#include "bake/sources.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "config/names.h"
#include "config/reference.h"
#include "container/cell.h"
#include "image/oci.h"

namespace kiln::image {

namespace {

// Runs as root of the files' namespace: a layer's files and their list, as every step of a bake leaves them.
Json import_job(const Json& arguments) {
  const fs::path work = arguments.at("work").get<std::string>(), files = work / "fs";
  make_folder(files);
  const oci::Descriptor blob{arguments.at("media_type"), arguments.at("digest"), arguments.at("size_bytes")};
  oci::unpack_layer({blob, arguments.at("file").get<std::string>()}, files);
  const bake::LayerSize size = bake::seal_layer(work);
  return {{"size_bytes", size.size_bytes}, {"files", size.files}};
}

const container::RegisterCellJob kImport{"image.import", import_job};

config::ImageSpec spec_for(const std::string& source, const ImportOptions& options) {
  std::error_code error;
  // What lies here is meant, whatever it is called.
  const fs::path absolute = fs::absolute(source).lexically_normal();
  const std::string text = fs::exists(source, error) ? absolute.native() : source;
  Json json = {{"name", "imported"}, {"base", {{"oci", text}}}};
  if (!options.architecture.empty()) json["architecture"] = options.architecture;
  return config::parse_image_spec(fs::current_path() / "the command line", json.dump());
}

// "registry.example/team/debian:12" → "debian", "/srv/toy.tar" → "toy"
std::string name_of(const config::BaseSpec& base) {
  if (base.oci.starts_with('/')) return fs::path(base.oci).filename().stem();
  const auto reference = config::parse_reference(base.oci);
  return reference.repository.substr(reference.repository.rfind('/') + 1);
}

Json config_of(const bake::Store& store, const bake::SourceRecord& record) {
  return Json::parse(read_file(store.home() / "sources/sha256" / record.files.at(1).sha256));
}

std::optional<bake::Image> record_in(const Json& config) {
  const Json labels = config.value("config", Json::object()).value("Labels", Json());
  if (!labels.is_object() || !labels.contains(kRecordLabel) || !labels[kRecordLabel].is_string()) return std::nullopt;
  return with_context("reading what kiln wrote into the image", [&] {
    Json json = Json::parse(labels[kRecordLabel].get<std::string>(), nullptr, false);
    if (!json.is_object() || !json.contains("layers")) fail("the label '{}' is damaged", kRecordLabel);
    json["created"] = 0;
    json["spec_file"] = "";
    json.erase("beside");
    for (auto& layer : json["layers"]) {
      layer["created"] = 0;
      layer["seconds"] = 0.0;
    }
    bake::Image image = bake::Image::from_json(json);
    config::image_spec_from_json(image.spec);
    for (const auto& module : image.modules) config::check_module_name(module.manifest.name);
    return image;
  });
}

// The layer of the store that has this key and is the same.
std::optional<bake::Layer> same_layer(const bake::Store& store, const std::string& key, const std::string& diff_id) {
  constexpr std::size_t kKeyLetters = 64;
  if (key.size() != kKeyLetters || key.find_first_not_of("0123456789abcdef") != std::string::npos) return std::nullopt;
  auto layer = store.find_layer(key);
  if (!layer || make_oci_layer(store, *layer, Compression::kGzip).diff_id != diff_id) return std::nullopt;
  return layer;
}

bake::Layer import_layer(bake::Store& store, const bake::Layer& told, const oci::LayerFile& file, const std::string& diff_id) {
  if (auto there = same_layer(store, told.key, diff_id)) return *there;
  bake::Layer layer = told;
  layer.inputs = {{"kind", "imported"}, {"digest", file.blob.digest}};
  layer.key = sha256_hex(layer.inputs.dump());
  const FileLock one_maker = store.lock(layer.key, "layer '" + layer.name + "'");
  if (auto there = store.find_layer(layer.key)) return *there;
  Activity activity("import " + layer.name);
  const bake::WorkFolder work = store.make_work_folder();
  const Json made = container::run_in_cell("image.import", {{"work", work.path().native()},
                                                            {"file", file.file.native()},
                                                            {"media_type", file.blob.media_type},
                                                            {"digest", file.blob.digest},
                                                            {"size_bytes", file.blob.size_bytes}});
  layer.size_bytes = made.at("size_bytes");
  layer.files = made.at("files");
  layer.created = static_cast<std::int64_t>(now_in_seconds());
  store.add_layer(layer, work);
  activity.finish({{"size_bytes", layer.size_bytes}});
  return layer;
}

}  // namespace

bake::Image import_image(bake::Store& store, const std::string& source, const ImportOptions& options) {
  return with_context("importing '" + source + "'", [&] {
    config::ImageSpec spec = spec_for(source, options);
    container::require_host();
    const FileLock in_use = store.in_use();
    const bake::Sources sources(store);
    const auto record = sources.fetch(*bake::base_request(spec), true);
    const Json config = config_of(store, record);
    auto image = record_in(config);
    const auto blobs = bake::base_layers(sources, record);
    spec.name = !options.name.empty() ? options.name : image ? image->name : name_of(spec.base);
    config::check_image_name(spec.name);
    if (!image || image->layers.size() != blobs.size()) return bake::bake_base(store, spec);
    const Json& diff_ids = config.at("rootfs").at("diff_ids");
    std::string keys;
    for (std::size_t i = 0; i < blobs.size(); ++i) {
      image->layers[i] = import_layer(store, image->layers[i], blobs[i], diff_ids.at(i));
      keys += image->layers[i].key + "\n";
    }
    image->name = spec.name;
    image->digest = sha256_hex(keys);
    image->created = static_cast<std::int64_t>(now_in_seconds());
    store.save_image(*image);
    return *image;
  });
}

}  // namespace kiln::image
