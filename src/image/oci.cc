#include "image/oci.h"

#include <algorithm>
#include <ctime>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/parallel.h"
#include "base/strings.h"
#include "image/disk_formats.h"
#include "image/tar_writer.h"
#include "oci/manifest.h"

namespace kiln::image {

namespace {

constexpr const char* kLayoutText = "{\"imageLayoutVersion\": \"1.0.0\"}\n";

// RFC 3339, as the OCI spec wants times.
std::string time_text(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

Json descriptor(const Blob& blob) { return {{"mediaType", blob.media_type}, {"digest", blob.digest}, {"size", blob.size_bytes}}; }

// The keys that the OCI spec predefines (annotations.md), as far as they can be told without a clock or a guess.
Json annotations(const bake::Image& image) {
  Json all = {{"org.opencontainers.image.title", image.name}, {"io.kiln.image.digest", image.digest}};
  if (!image.summary.empty()) all["org.opencontainers.image.description"] = image.summary;
  for (const auto& module : image.modules) {
    if (const auto version = module.params.find("version"); module.manifest.name == "spark" && version != module.params.end())
      all["org.opencontainers.image.version"] = version->second;
  }
  all["org.opencontainers.image.created"] = time_text(image.spec.value("epoch", std::int64_t{0}));
  return all;
}

// The ports of what a container by itself may run: `docker run -P` publishes them.
Json exposed_ports(const bake::Image& image) {
  Json ports = Json::object();
  for (const auto& module : image.modules) {
    for (const auto& service : module.manifest.services) {
      const auto& switches = module.manifest.appliance.services;
      if (std::none_of(switches.begin(), switches.end(), [&](const auto& entry) { return entry.service == service.name; })) continue;
      for (const auto& [name, port] : service.ports)
        if (port.find_first_not_of("0123456789") == std::string::npos) ports[port + "/tcp"] = Json::object();
    }
  }
  return ports;
}

// The image's record as it is the same wherever and whenever it was baked.
std::string record_text(const bake::Image& image) {
  Json record = image.to_json();
  record.erase("created");
  record.erase("spec_file");
  record.erase("beside");
  for (auto& layer : record["layers"]) {
    layer.erase("created");
    layer.erase("seconds");
  }
  if (record["spec"].is_object() && record["spec"].contains("base")) {
    for (const char* key : {"tarball", "oci"}) {
      const std::string place = record["spec"]["base"].value(key, "");
      if (place.starts_with('/')) record["spec"]["base"][key] = "./" + fs::path(place).filename().native();
    }
  }
  return record.dump();
}

// Without a command of its own the image is a Spark appliance, told by its environment what to be; the agent is its first process.
std::string config_text(const bake::Image& image, const std::vector<OciLayer>& layers) {
  const std::string created = time_text(image.spec.value("epoch", std::int64_t{0}));
  Json labels = annotations(image);
  labels[kRecordLabel] = record_text(image);
  Json diff_ids = Json::array(), history = Json::array();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    diff_ids.push_back(layers[i].diff_id);
    history.push_back({{"created", created}, {"created_by", "kiln: " + image.layers[i].name}});
  }
  const Json config = {{"created", created},
                       {"architecture", image.architecture},
                       {"os", "linux"},
                       {"config",
                        {{"Env", {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}},
                         {"Entrypoint", {"/usr/lib/kiln/kiln-node", "appliance"}},
                         {"ExposedPorts", exposed_ports(image)},
                         {"StopSignal", "SIGTERM"},
                         {"Labels", labels}}},
                       {"rootfs", {{"type", "layers"}, {"diff_ids", diff_ids}}},
                       {"history", history}};
  return config.dump();
}

Json platform(const OciImage& image) { return {{"os", "linux"}, {"architecture", image.architecture}}; }

// index.json of a layout: the one image, or the index of several.
Json root_descriptor(const bake::Store& store, const std::vector<OciImage>& images, const std::string& reference) {
  Json root;
  if (images.size() == 1) {
    root = descriptor(images[0].manifest);
    root["platform"] = platform(images[0]);
  } else {
    root = descriptor(make_oci_index(store, images).index);
  }
  // A layout's own name for it: what stands behind the ':' of a reference, as skopeo and umoci read it.
  const auto colon = reference.rfind(':');
  const bool has_tag = colon != std::string::npos && reference.find('/', colon) == std::string::npos;
  root["annotations"] = {{"org.opencontainers.image.ref.name", has_tag ? reference.substr(colon + 1) : std::string("latest")}};
  return root;
}

// Every blob of the images once.
std::vector<std::string> digests_of(const bake::Store& store, const std::vector<OciImage>& images) {
  std::set<std::string> digests;
  if (images.size() > 1) digests.insert(make_oci_index(store, images).index.digest);
  for (const auto& image : images) {
    digests.insert({image.manifest.digest, image.config.digest});
    for (const auto& layer : image.layers) digests.insert(layer.blob.digest);
  }
  return {digests.begin(), digests.end()};
}

std::string blob_path(const std::string& digest) {
  const auto colon = digest.find(':');
  return "blobs/" + digest.substr(0, colon) + "/" + digest.substr(colon + 1);
}

// What `docker load` looks for: before engine 25 it knew no index.json.
std::string docker_manifest(const std::vector<OciImage>& images, const std::string& reference) {
  Json all = Json::array();
  for (const auto& image : images) {
    Json layers = Json::array();
    for (const auto& layer : image.layers) layers.push_back(blob_path(layer.blob.digest));
    all.push_back({{"Config", blob_path(image.config.digest)}, {"RepoTags", Json::array({reference})}, {"Layers", layers}});
  }
  return all.dump();
}

// Docker wants a tag.
std::string with_tag(const std::string& reference) {
  const auto colon = reference.rfind(':');
  return colon == std::string::npos || reference.find('/', colon) != std::string::npos ? reference + ":latest" : reference;
}

}  // namespace

OciImage make_oci_image(const bake::Store& store, const bake::Image& image, Compression compression, std::size_t jobs) {
  OciImage result;
  result.architecture = image.architecture;
  result.layers.resize(image.layers.size());
  parallel_for(image.layers.size(), jobs,
               [&](std::size_t index) { result.layers[index] = make_oci_layer(store, image.layers[index], compression); });
  result.config = add_text_blob(store, oci::kConfigType, config_text(image, result.layers));
  Json layers = Json::array();
  for (const auto& layer : result.layers) layers.push_back(descriptor(layer.blob));
  const Json manifest = {{"schemaVersion", 2},
                         {"mediaType", oci::kManifestType},
                         {"config", descriptor(result.config)},
                         {"layers", layers},
                         {"annotations", annotations(image)}};
  result.manifest = add_text_blob(store, oci::kManifestType, manifest.dump());
  return result;
}

OciIndex make_oci_index(const bake::Store& store, std::vector<OciImage> images) {
  std::sort(images.begin(), images.end(), [](const auto& a, const auto& b) { return a.architecture < b.architecture; });
  Json manifests = Json::array();
  for (std::size_t i = 0; i < images.size(); ++i) {
    if (i > 0 && images[i].architecture == images[i - 1].architecture)
      fail_usage("two of the images are for {}: an index names one for each architecture", images[i].architecture);
    Json entry = descriptor(images[i].manifest);
    entry["platform"] = platform(images[i]);
    manifests.push_back(std::move(entry));
  }
  const Json index = {{"schemaVersion", 2}, {"mediaType", oci::kIndexType}, {"manifests", manifests}};
  return {add_text_blob(store, oci::kIndexType, index.dump()), std::move(images)};
}

namespace {

void copy_blobs(const bake::Store& store, const std::vector<OciImage>& images, const fs::path& folder) {
  for (const auto& digest : digests_of(store, images)) {
    const fs::path from = blob_file(store, digest), to = folder / blob_path(digest);
    std::error_code error;
    if (fs::file_size(to, error) == fs::file_size(from) && !error) continue;
    make_folder(to.parent_path());
    // One file system: the same file twice. Else a copy, in place when it is whole.
    fs::remove(to, error);
    fs::create_hard_link(from, to, error);
    if (!error) continue;
    copy_file_in_one_step(from, to);
  }
}

// index.json with the image in place of an earlier one of that name, and oci-layout.
void finish_layout(const bake::Store& store, const std::vector<OciImage>& images, const std::string& reference, const fs::path& folder) {
  const Json root = root_descriptor(store, images, reference);
  Json manifests = Json::array();
  if (fs::exists(folder / "oci-layout")) {
    const Json before = Json::parse(read_file(folder / "index.json"), nullptr, false);
    if (!before.is_object()) fail("'{}' is no JSON", (folder / "index.json").native());
    for (const auto& entry : before.value("manifests", Json::array())) {
      const Json name = entry.value("annotations", Json::object()).value("org.opencontainers.image.ref.name", Json());
      if (name != root["annotations"]["org.opencontainers.image.ref.name"]) manifests.push_back(entry);
    }
  }
  manifests.push_back(root);
  write_file_atomically(folder / "index.json",
                        Json{{"schemaVersion", 2}, {"mediaType", oci::kIndexType}, {"manifests", manifests}}.dump(1) + "\n");
  // Last: by this file a layout is known.
  write_file_atomically(folder / "oci-layout", kLayoutText);
}

}  // namespace

void write_layout(const bake::Store& store, const std::vector<OciImage>& images, const std::string& reference, const fs::path& folder) {
  const bool there = fs::exists(folder / "oci-layout"), was_there = fs::exists(folder);
  if (was_there && !there && !fs::is_empty(folder)) {
    UsageError error(fmt::format("'{}' is there, and is no OCI layout", folder.native()));
    error.set_hint("name a folder that is not there yet, or an OCI layout to add the image to");
    throw error;
  }
  // What cannot be finished is taken away again, but for whole blobs in a layout of somebody's.
  std::error_code ignored;
  try {
    copy_blobs(store, images, folder);
    finish_layout(store, images, reference, folder);
  } catch (...) {
    if (!there) {
      fs::remove_all(folder / "blobs", ignored);
      fs::remove(folder / "index.json", ignored);
      if (!was_there) fs::remove(folder, ignored);
    }
    throw;
  }
}

void write_archive(const bake::Store& store, const std::vector<OciImage>& images, const std::string& reference, std::int64_t epoch,
                   const fs::path& file) {
  if (fs::is_directory(file)) fail_usage("'{}' is a folder", file.native());
  const std::string tagged = with_tag(reference);
  const fs::path part = file.native() + ".part";
  std::error_code ignored;
  fs::remove(part, ignored);
  try {
    OutputFile output(part);
    TarWriter tar([&](std::string_view bytes) { output.write(bytes); });
    tar.add_text("oci-layout", kLayoutText, epoch);
    Json root = root_descriptor(store, images, tagged);
    root["annotations"]["io.containerd.image.name"] = tagged;
    tar.add_text("index.json", Json{{"schemaVersion", 2}, {"mediaType", oci::kIndexType}, {"manifests", Json::array({root})}}.dump(),
                 epoch);
    tar.add_text("manifest.json", docker_manifest(images, tagged), epoch);
    tar.add_folder("blobs", epoch);
    tar.add_folder("blobs/sha256", epoch);
    for (const auto& digest : digests_of(store, images)) tar.add_file(blob_path(digest), blob_file(store, digest), epoch);
    tar.finish();
    output.sync();
    fs::rename(part, file);
  } catch (...) {
    fs::remove(part, ignored);
    throw;
  }
}

}  // namespace kiln::image
