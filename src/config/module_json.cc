// Modules as the JSON inside images: what the agent and the launcher read instead of YAML.
#include <algorithm>
#include <limits>

#include "config/json_reader.h"
#include "config/module.h"

namespace kiln::config {

namespace {

struct KindName {
  int kind;
  const char* name;
};

constexpr KindName kSourceKinds[] = {{static_cast<int>(SourceLocation::Kind::kUrl), "url"},
                                     {static_cast<int>(SourceLocation::Kind::kPypi), "pypi"},
                                     {static_cast<int>(SourceLocation::Kind::kMaven), "maven"},
                                     {static_cast<int>(SourceLocation::Kind::kGit), "git"},
                                     {static_cast<int>(SourceLocation::Kind::kFile), "file"}};
constexpr KindName kReadyKinds[] = {{static_cast<int>(Ready::Kind::kStarted), "started"},
                                    {static_cast<int>(Ready::Kind::kHttp), "http"},
                                    {static_cast<int>(Ready::Kind::kTcp), "tcp"},
                                    {static_cast<int>(Ready::Kind::kExec), "exec"},
                                    {static_cast<int>(Ready::Kind::kLog), "log"}};

template <std::size_t N>
std::string kind_name(const KindName (&kinds)[N], int kind) {
  for (const auto& entry : kinds) {
    if (entry.kind == kind) return entry.name;
  }
  kiln::fail("kind {} has no name", kind);
}

template <std::size_t N>
int read_kind(JsonReader& reader, const KindName (&kinds)[N]) {
  const std::string name = reader.text("kind");
  std::vector<std::string> known;
  for (const auto& entry : kinds) {
    if (name == entry.name) return entry.kind;
    known.emplace_back(entry.name);
  }
  reader.fail("kind", "cannot be " + in_quotes(name), did_you_mean_or_list(name, known));
}

std::string read_word(JsonReader& reader, const std::string& key, const std::string& otherwise, const std::vector<std::string>& words) {
  std::string word = reader.text_or(key, otherwise);
  if (std::find(words.begin(), words.end(), word) == words.end())
    reader.fail(key, "cannot be " + in_quotes(word), did_you_mean_or_list(word, words));
  return word;
}

// Sets the member unless the value is the default one.
template <class T>
void put(Json& json, const char* key, const T& value, const T& otherwise = T()) {
  if (value != otherwise) json[key] = value;
}

Json location_to_json(const SourceLocation& location) {
  Json json = {{"kind", kind_name(kSourceKinds, static_cast<int>(location.kind))}, {"what", location.what}};
  put(json, "sha256", location.sha256);
  put(json, "sha512", location.sha512);
  put(json, "ref", location.ref);
  put(json, "sdist", location.sdist);
  put(json, "transitive", location.transitive, true);
  put(json, "unpack", location.unpack);
  put(json, "if", location.condition);
  return json;
}

SourceLocation location_from_json(JsonReader& reader) {
  SourceLocation location;
  location.kind = static_cast<SourceLocation::Kind>(read_kind(reader, kSourceKinds));
  location.what = reader.texts("what");
  location.sha256 = reader.text_or("sha256", {});
  location.sha512 = reader.text_or("sha512", {});
  location.ref = reader.text_or("ref", {});
  location.sdist = reader.flag_or("sdist", false);
  location.transitive = reader.flag_or("transitive", true);
  location.unpack = reader.flag_or("unpack", false);
  location.condition = reader.text_map("if");
  reader.only_read_members();
  return location;
}

Json build_to_json(const BuildNeeds& build) {
  Json json = Json::object();
  put(json, "if", build.condition);
  put(json, "packages", build.packages);
  put(json, "network", build.network);
  return json;
}

using PackageLists = std::map<std::string, std::vector<std::string>>;

PackageLists packages_from_json(JsonReader& reader, const Json& json) {
  PackageLists lists;
  if (!reader.has("packages")) return lists;
  JsonReader packages = reader.object("packages");
  for (const auto& [family, names] : json.at("packages").items()) lists[family] = packages.texts(family);
  return lists;
}

BuildNeeds build_from_json(JsonReader reader, const Json& json) {
  BuildNeeds build;
  build.condition = reader.text_map("if");
  build.packages = packages_from_json(reader, json);
  build.network = reader.flag_or("network", false);
  reader.only_read_members();
  return build;
}

Json ready_to_json(const Ready& ready) {
  Json json = {{"kind", kind_name(kReadyKinds, static_cast<int>(ready.kind))}, {"timeout", ready.timeout_seconds}};
  put(json, "target", ready.target);
  put(json, "contains", ready.contains);
  return json;
}

Ready ready_from_json(JsonReader reader) {
  Ready ready;
  ready.kind = static_cast<Ready::Kind>(read_kind(reader, kReadyKinds));
  ready.timeout_seconds = static_cast<int>(reader.integer_or("timeout", ready.timeout_seconds, 1, kMaxServiceSeconds));
  ready.target = reader.text_or("target", {});
  ready.contains = reader.text_or("contains", {});
  reader.only_read_members();
  return ready;
}

Json service_to_json(const Service& service) {
  static const Service kDefaults;
  Json json = {{"name", service.name}, {"exec", service.exec}};
  put(json, "on", service.on, kDefaults.on);
  put(json, "user", service.user, kDefaults.user);
  put(json, "directory", service.directory, kDefaults.directory);
  put(json, "env", service.env);
  put(json, "ports", service.ports);
  if (service.ui) json["ui"] = {{"port", service.ui->port}, {"path", service.ui->path}, {"title", service.ui->title}};
  put(json, "enabled", service.enabled, kDefaults.enabled);
  put(json, "instances", service.instances, kDefaults.instances);
  put(json, "after", service.after);
  put(json, "gate", service.gate);
  json["ready"] = ready_to_json(service.ready);
  put(json, "restart", service.restart, kDefaults.restart);
  json["stop"] = {{"signal", service.stop_signal}, {"timeout", service.stop_timeout_seconds}};
  return json;
}

Service service_from_json(JsonReader& reader) {
  Service service;
  service.name = reader.text("name");
  service.exec = reader.text("exec");
  service.on = read_word(reader, "on", service.on, service_roles());
  service.user = reader.text_or("user", service.user);
  service.directory = reader.text_or("directory", service.directory);
  service.env = reader.text_map("env");
  service.ports = reader.text_map("ports");
  if (reader.has("ui")) {
    JsonReader page = reader.object("ui");
    service.ui = Service::Page{page.text("port"), page.text_or("path", "/"), page.text_or("title", {})};
    page.only_read_members();
  }
  service.enabled = reader.text_or("enabled", service.enabled);
  service.instances = reader.text_or("instances", service.instances);
  service.after = reader.texts("after");
  service.gate = reader.texts("gate");
  if (reader.has("ready")) service.ready = ready_from_json(reader.object("ready"));
  service.restart = read_word(reader, "restart", service.restart, restart_policies());
  if (reader.has("stop")) {
    JsonReader stop = reader.object("stop");
    service.stop_signal = read_word(stop, "signal", service.stop_signal, stop_signals());
    service.stop_timeout_seconds = static_cast<int>(stop.integer_or("timeout", service.stop_timeout_seconds, 0, kMaxServiceSeconds));
    stop.only_read_members();
  }
  reader.only_read_members();
  return service;
}

Json appliance_to_json(const Appliance& appliance) {
  Json json = Json::object();
  for (const auto& entry : appliance.services) {
    Json service = {{"service", entry.service}};
    put(service, "variable", entry.variable);
    put(service, "on", entry.on, true);
    put(service, "if", entry.if_given);
    put(service, "unless", entry.unless_given);
    put(service, "needs", entry.needs);
    json["services"].push_back(std::move(service));
  }
  for (const auto& entry : appliance.params) {
    Json setting = {{"param", entry.param}, {"kind", entry.kind}};
    put(setting, "variable", entry.variable);
    put(setting, "options", entry.options);
    put(setting, "prefix", entry.prefix);
    json["params"].push_back(std::move(setting));
  }
  return json;
}

Appliance appliance_from_json(JsonReader reader) {
  Appliance appliance;
  for (auto& service : reader.objects("services")) {
    appliance.services.push_back({service.text("service"), service.text_or("variable", {}), service.flag_or("on", true),
                                  service.text_or("if", {}), service.text_or("unless", {}), service.texts("needs")});
    service.only_read_members();
  }
  for (auto& setting : reader.objects("params")) {
    appliance.params.push_back({setting.text("param"), setting.text_or("variable", {}), setting.texts("options"),
                                read_word(setting, "kind", "text", setting_kinds()), setting.text_or("prefix", {})});
    setting.only_read_members();
  }
  reader.only_read_members();
  return appliance;
}

}  // namespace

const std::vector<std::string>& setting_kinds() {
  static const std::vector<std::string> kWords = {"text", "number", "size"};
  return kWords;
}

const std::vector<std::string>& service_roles() {
  static const std::vector<std::string> kWords = {"master", "worker", "all"};
  return kWords;
}

const std::vector<std::string>& restart_policies() {
  static const std::vector<std::string> kWords = {"always", "on-failure", "never"};
  return kWords;
}

const std::vector<std::string>& stop_signals() {
  static const std::vector<std::string> kWords = {"TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", "ABRT", "KILL"};
  return kWords;
}

Json module_to_json(const Module& module) {
  Json json = {{"name", module.name}, {"summary", module.summary}};
  put(json, "requires", module.requires_modules);
  put(json, "after", module.after);
  for (const auto& [name, parameter] : module.params) {
    json["params"][name] = {{"default", parameter.default_value}, {"doc", parameter.doc}};
    put(json["params"][name], "values", parameter.values);
  }
  put(json, "network", module.network);
  if (module.timeout != kDefaultScriptTimeout) json["timeout"] = module.timeout.count();
  put(json, "packages", module.packages);
  for (const auto& source : module.sources) {
    Json mirrors = Json::array();
    for (const auto& location : source.mirrors) mirrors.push_back(location_to_json(location));
    json["sources"].push_back({{"name", source.name}, {"mirrors", mirrors}});
  }
  if (module.build) json["build"] = build_to_json(*module.build);
  for (const auto& service : module.services) json["services"].push_back(service_to_json(service));
  for (const auto& [name, command] : module.commands) {
    json["commands"][name] = {{"exec", command.exec}, {"user", command.user}, {"doc", command.doc}};
  }
  put(json, "appliance", appliance_to_json(module.appliance), Json::object());
  return json;
}

Module module_from_json(const Json& json) {
  JsonReader reader(json, "module");
  Module module;
  module.name = reader.text("name");
  module.summary = reader.text_or("summary", {});
  module.requires_modules = reader.texts("requires");
  module.after = reader.texts("after");
  for (auto& [name, parameter] : reader.object_map("params")) {
    module.params[name] = {parameter.text_or("default", {}), parameter.text_or("doc", {}), parameter.texts("values")};
    parameter.only_read_members();
  }
  module.network = reader.flag_or("network", false);
  constexpr std::int64_t kDefault = std::chrono::seconds(kDefaultScriptTimeout).count();
  module.timeout = std::chrono::seconds(reader.integer_or("timeout", kDefault, 1, std::numeric_limits<std::int32_t>::max()));
  module.packages = packages_from_json(reader, json);
  if (reader.has("build")) module.build = build_from_json(reader.object("build"), json.at("build"));
  for (auto& source : reader.objects("sources")) {
    SourceSpec spec;
    spec.name = source.text("name");
    for (auto& location : source.objects("mirrors")) spec.mirrors.push_back(location_from_json(location));
    source.only_read_members();
    module.sources.push_back(std::move(spec));
  }
  for (auto& service : reader.objects("services")) module.services.push_back(service_from_json(service));
  for (auto& [name, command] : reader.object_map("commands")) {
    module.commands[name] = {command.text("exec"), command.text_or("user", "root"), command.text_or("doc", {})};
    command.only_read_members();
  }
  if (reader.has("appliance")) module.appliance = appliance_from_json(reader.object("appliance"));
  reader.only_read_members();
  return module;
}

}  // namespace kiln::config
