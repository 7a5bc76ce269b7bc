// Reads cluster specs, and checks clusters wherever their values came from.
#include "config/cluster_spec.h"

#include <algorithm>
#include <cmath>

#include "base/files.h"
#include "config/json_reader.h"
#include "config/module_choice.h"
#include "config/names.h"
#include "config/yaml.h"

namespace kiln::config {

namespace {

constexpr double kMaxCpus = 4096;
// Below it no JVM with a service starts; it also catches "memory: 2" for 2g.
constexpr std::int64_t kMinMemoryBytes = 128LL << 20;
constexpr std::int64_t kMaxMemoryBytes = 1LL << 50;
constexpr std::chrono::seconds kMinTtl = std::chrono::minutes(1);
constexpr std::chrono::seconds kMaxTtl = std::chrono::hours(24 * 366);
constexpr std::int64_t kMinSwapBytes = 16LL << 20;
constexpr std::int64_t kMaxSwapBytes = 1LL << 40;
// EC2 carries 16 KiB, packed and with the node document; scripts get smaller by a third to a fifth.
constexpr std::size_t kMaxUserData = 64 << 10;
// Nodes look at themselves ten times within it, at most once a second.
constexpr std::chrono::seconds kMinIdle{10};
constexpr std::chrono::seconds kMaxIdle = std::chrono::hours(24 * 7);

const std::vector<std::string> kSpecKeys = {"name",    "on",  "image", "masters", "workers",   "node",        "master",
                                            "modules", "ttl", "idle",  "swap",    "user_data", "deploy_root", "aws"};

void check_provider_name(const std::string& name) {
  const bool good =
      !name.empty() && name.size() <= 32 && name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
  if (!good) fail_usage("{} is no provider's name", in_quotes(name));
}

// A name that the provider looks up elsewhere: ssm:/aws/service/…
bool is_parameter(const std::string& image) { return image.starts_with("ssm:"); }

bool is_file_name(const std::string& image) {
  if (is_parameter(image)) return false;
  return image.find('/') != std::string::npos || image.ends_with(".yaml") || image.ends_with(".yml");
}

void check_image(const std::string& image) {
  if (!is_file_name(image) && !is_parameter(image)) check_image_name(image);
}

void check_count(std::string_view what, int count, int min, int max) {
  if (count < min || count > max) fail_usage("{} must be {} to {}, found {}", what, min, max, count);
}

void check_cpus(double cpus) {
  if (!(cpus >= 0 && cpus <= kMaxCpus)) fail_usage("a node's cpus must be 0 to {}, found {}", kMaxCpus, cpus);
}

void check_memory(std::int64_t memory_bytes) {
  if (memory_bytes == 0) return;
  if (memory_bytes >= kMinMemoryBytes && memory_bytes <= kMaxMemoryBytes) return;
  UsageError error(fmt::format("a node's memory must be {} to {}, found {}", human_size(kMinMemoryBytes), human_size(kMaxMemoryBytes),
                               memory_bytes < 0 ? "less than nothing" : human_size(static_cast<std::uintmax_t>(memory_bytes))));
  if (memory_bytes > 0 && memory_bytes <= 1024) error.set_hint(fmt::format("did you mean '{}g'?", memory_bytes));
  throw error;
}

void check_ttl(std::chrono::seconds ttl) {
  if (ttl < kMinTtl || ttl > kMaxTtl) fail_usage("a cluster's ttl must be one minute to 366 days, found {} seconds", ttl.count());
}

void check_idle(std::chrono::seconds idle) {
  if (idle < kMinIdle || idle > kMaxIdle)
    fail_usage("a cluster's idle time must be ten seconds to seven days, found {} seconds", idle.count());
}

void check_swap(const ClusterSpec& spec) {
  if (spec.swap_bytes == 0) return;
  if (spec.swap_bytes < kMinSwapBytes || spec.swap_bytes > kMaxSwapBytes)
    fail_usage("swap must be {} to {}, found {} bytes", human_size(kMinSwapBytes), human_size(kMaxSwapBytes), spec.swap_bytes);
  if (spec.provider != "local") return;
  UsageError error("nodes on this machine share its memory and its swap: they have none of their own");
  error.set_hint("leave --swap out, or launch on machines (--on)");
  throw error;
}

Resources read_resources(const Value& value, const std::string& what) {
  value.only_keys(what, {"cpus", "memory"});
  Resources resources;
  if (const Value cpus = value["cpus"]; !cpus.is_null()) {
    resources.cpus = cpus.as_number("'cpus'", 0, kMaxCpus);
  }
  if (const Value memory = value["memory"]; !memory.is_null()) {
    resources.memory_bytes = memory.as_size_bytes("'memory'");
    memory.at_this_place([&] { check_memory(resources.memory_bytes); });
  }
  return resources;
}

Json resources_to_json(const Resources& resources) { return {{"cpus", resources.cpus}, {"memory_bytes", resources.memory_bytes}}; }

Resources resources_from_json(JsonReader reader) {
  Resources resources;
  resources.cpus = reader.number_or("cpus", 0, 0, kMaxCpus);
  resources.memory_bytes = reader.integer_or("memory_bytes", 0, 0, kMaxMemoryBytes);
  reader.only_read_members();
  return resources;
}

}  // namespace

ClusterSpec parse_cluster_spec(const std::string& file, const std::string& text) {
  const Value root = Value::parse(file, text);
  if (root.is_null()) root.fail("the cluster spec is empty", "it may say name, on, image, masters, workers …");
  root.only_keys("the cluster spec", kSpecKeys);
  const fs::path folder = fs::absolute(file).parent_path();
  ClusterSpec spec;
  if (const Value value = root["name"]; !value.is_null()) {
    spec.name = value.as_string("'name'");
    value.at_this_place([&] { check_cluster_name(spec.name); });
  }
  if (const Value value = root["on"]; !value.is_null()) {
    spec.provider = value.as_string("'on'");
    value.at_this_place([&] { check_provider_name(spec.provider); });
  }
  if (const Value value = root["image"]; !value.is_null()) {
    spec.image = value.as_string("'image'");
    value.at_this_place([&] { check_image(spec.image); });
    if (is_file_name(spec.image)) spec.image = (folder / spec.image).lexically_normal().string();
  }
  if (const Value value = root["masters"]; !value.is_null()) spec.masters = static_cast<int>(value.as_int("'masters'", 1, kMaxMasters));
  if (const Value value = root["workers"]; !value.is_null()) spec.workers = static_cast<int>(value.as_int("'workers'", 0, kMaxWorkers));
  if (const Value value = root["node"]; !value.is_null()) spec.node = read_resources(value, "'node'");
  if (const Value value = root["master"]; !value.is_null()) spec.master = read_resources(value, "'master'");
  spec.modules = read_module_choices(root["modules"]);
  if (const Value value = root["ttl"]; !value.is_null()) {
    spec.ttl = value.as_duration("'ttl'");
    value.at_this_place([&] { check_ttl(*spec.ttl); });
  }
  if (const Value value = root["idle"]; !value.is_null()) {
    spec.idle = value.as_duration("'idle'");
    value.at_this_place([&] { check_idle(*spec.idle); });
  }
  if (const Value value = root["swap"]; !value.is_null()) spec.swap_bytes = value.as_size_bytes("'swap'");
  if (const Value value = root["user_data"]; !value.is_null()) {
    const std::string named = value.as_string("'user_data'");
    value.at_this_place([&] { spec.user_data = read_user_data(folder / named); });
  }
  if (const Value value = root["deploy_root"]; !value.is_null()) {
    const std::string named = value.as_string("'deploy_root'");
    spec.deploy_root = (folder / named).lexically_normal();
    std::error_code code;
    if (named.empty() || !fs::is_directory(*spec.deploy_root, code))
      value.fail("'deploy_root' must be a folder, found " + in_quotes(named));
  }
  if (const Value value = root["aws"]; !value.is_null()) spec.aws = read_aws_spec(value);
  return spec;
}

std::string read_user_data(const fs::path& file) {
  const std::string named = in_quotes(file.string());
  std::error_code code;
  if (fs::is_directory(file, code)) fail_usage("user data {}: Is a directory", named);
  const auto text = read_file_if_there(file);
  if (!text) fail_usage("user data {}: No such file", named);
  if (!text->starts_with("#!")) {
    UsageError error(fmt::format("user data {} is no script", named));
    error.set_hint("its first line names what runs it, such as #!/bin/sh; cloud-init's other formats are not understood");
    throw error;
  }
  if (text->size() > kMaxUserData) {
    UsageError error(fmt::format("user data {} has {} bytes, and may have {}", named, text->size(), kMaxUserData));
    error.set_hint("let it fetch the larger part, or bring that with --deploy-root");
    throw error;
  }
  try {
    Json(*text).dump();  // it travels as JSON
  } catch (const Json::exception&) {
    fail_usage("user data {} is no UTF-8 text", named);
  }
  return *text;
}

ClusterSpec load_cluster_spec(const fs::path& file) { return parse_cluster_spec(file.string(), read_config_file(file.string())); }

void check_cluster_spec(const ClusterSpec& spec) {
  check_cluster_name(spec.name);
  check_provider_name(spec.provider);
  check_image(spec.image);
  check_count("the number of masters", spec.masters, 1, kMaxMasters);
  check_count("the number of workers", spec.workers, 0, kMaxWorkers);
  for (const Resources& resources : {spec.node, spec.master.value_or(Resources{})}) {
    check_cpus(resources.cpus);
    check_memory(resources.memory_bytes);
  }
  std::vector<std::string> names;
  for (const auto& module : spec.modules) {
    check_module_name(module.name);
    if (std::find(names.begin(), names.end(), module.name) != names.end()) fail_usage("module {} is chosen twice", in_quotes(module.name));
    names.push_back(module.name);
  }
  if (spec.ttl) check_ttl(*spec.ttl);
  if (spec.idle) check_idle(*spec.idle);
  check_swap(spec);
  check_aws_spec(spec.aws);
}

Json cluster_spec_to_json(const ClusterSpec& spec) {
  Json modules = Json::array();
  for (const auto& module : spec.modules) modules.push_back({{"name", module.name}, {"params", module.params}});
  Json json = {{"name", spec.name},       {"on", spec.provider},     {"image", spec.image},
               {"masters", spec.masters}, {"workers", spec.workers}, {"node", resources_to_json(spec.node)},
               {"modules", modules}};
  if (spec.master) json["master"] = resources_to_json(*spec.master);
  if (spec.ttl) json["ttl_seconds"] = spec.ttl->count();
  if (spec.idle) json["idle_seconds"] = spec.idle->count();
  if (spec.swap_bytes != 0) json["swap_bytes"] = spec.swap_bytes;
  if (!spec.user_data.empty()) json["user_data"] = spec.user_data;
  if (spec.deploy_root) json["deploy_root"] = spec.deploy_root->string();
  if (spec.provider == "aws") json["aws"] = aws_spec_to_json(spec.aws);
  return json;
}

ClusterSpec cluster_spec_from_json(const Json& json) {
  JsonReader reader(json, "cluster spec");
  ClusterSpec spec;
  spec.name = reader.text("name");
  spec.provider = reader.text_or("on", spec.provider);
  spec.image = reader.text_or("image", spec.image);
  spec.masters = static_cast<int>(reader.integer_or("masters", spec.masters, 1, kMaxMasters));
  spec.workers = static_cast<int>(reader.integer_or("workers", spec.workers, 0, kMaxWorkers));
  if (reader.has("node")) spec.node = resources_from_json(reader.object("node"));
  if (reader.has("master")) spec.master = resources_from_json(reader.object("master"));
  for (auto& module : reader.objects("modules")) {
    ModuleChoice choice;
    choice.name = module.text("name");
    choice.params = module.text_map("params");
    module.only_read_members();
    spec.modules.push_back(std::move(choice));
  }
  if (reader.has("ttl_seconds")) spec.ttl = std::chrono::seconds(reader.integer_or("ttl_seconds", 0, kMinTtl.count(), kMaxTtl.count()));
  if (reader.has("idle_seconds"))
    spec.idle = std::chrono::seconds(reader.integer_or("idle_seconds", 0, kMinIdle.count(), kMaxIdle.count()));
  spec.swap_bytes = reader.integer_or("swap_bytes", 0, 0, kMaxSwapBytes);
  spec.user_data = reader.text_or("user_data", "");
  if (reader.has("deploy_root")) spec.deploy_root = reader.text("deploy_root");
  if (reader.has("aws")) spec.aws = aws_spec_from_json(reader.object("aws"));
  reader.only_read_members();
  return spec;
}

}  // namespace kiln::config
