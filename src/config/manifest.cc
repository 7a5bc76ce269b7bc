// Reads module.yaml: the parts that need no file of their own (parameters, packages, relations, commands).
#include "config/manifest.h"

#include <algorithm>
#include <map>

#include "base/files.h"
#include "base/strings.h"
#include "config/names.h"

namespace kiln::config {

namespace {

const std::vector<std::string> kManifestKeys = {"summary",  "requires", "after", "params",   "network",  "timeout",
                                                "packages", "sources",  "build", "services", "commands", "appliance"};
const std::vector<std::string> kPackageFamilies = {"debian", "rpm"};

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string read_summary(const Value& root) {
  const Value value = root.required("the manifest", "summary");
  std::string summary = value.as_string("'summary'");
  while (!summary.empty() && summary.back() == '\n') summary.pop_back();
  if (summary.empty() || summary.find('\n') != std::string::npos) value.fail("'summary' must be one line");
  return summary;
}

std::vector<std::string> read_module_names(const Value& value, const std::string& key, const std::string& own_name) {
  std::vector<std::string> names;
  for (const auto& item : value.as_scalars("'" + key + "'")) {
    const std::string name = item.as_string("a module's name");
    item.at_this_place([&] { check_module_name(name); });
    if (name == own_name) item.fail("module " + in_quotes(name) + " names itself in '" + key + "'");
    if (contains(names, name)) item.fail("module " + in_quotes(name) + " is named twice");
    names.push_back(name);
  }
  return names;
}

void read_params(const Value& map, Problems& problems, const std::function<void(const std::string&, const Value&)>& take) {
  std::map<std::string, std::string> variables;
  for (const auto& [name, value] : map.as_map("'params'")) {
    problems.attempt([&, &name = name, &value = value] {
      check_word_name(value, "parameter", name);
      if (contains(bake_placeholders(), name) || contains(node_placeholders(), name)) {
        value.fail_at_key("a parameter cannot be called " + in_quotes(name) + ": that name is kiln's own",
                          "kiln gives {" + name + "} its value");
      }
      const auto [other, is_new] = variables.emplace(variable_name(name), name);
      if (!is_new) value.fail_at_key(fmt::format("parameters '{}' and '{}' both become KILN_PARAM_{}", other->second, name, other->first));
      take(name, value);
    });
  }
}

Parameter read_parameter(const Value& value, const std::string& name) {
  Parameter parameter;
  Value given = value;
  if (value.is_map()) {
    value.only_keys("parameter '" + name + "'", {"default", "doc", "values"});
    if (const Value doc = value["doc"]; !doc.is_null()) parameter.doc = doc.as_string("'doc'");
    given = value["default"];
    if (const Value values = value["values"]; !values.is_null()) {
      parameter.values = values.as_strings("'values'");
      if (parameter.values.empty()) values.fail("'values' is an empty list", "leave it out where a parameter may have any");
    }
  }
  parameter.default_value = read_parameter_text(given, "parameter '" + name + "'");
  const auto& values = parameter.values;
  if (!values.empty() && !contains(values, parameter.default_value)) {
    given.fail("parameter '" + name + "' cannot be " + in_quotes(parameter.default_value) + ": it is none of its 'values'",
               did_you_mean_or_list(parameter.default_value, values));
  }
  // The user's value replaces the default whole, so a default may use kiln's names but not other parameters'.
  for (const auto& used : given.at_this_place([&] { return placeholders(parameter.default_value); })) {
    if (!contains(bake_placeholders(), used)) {
      given.fail_at_part("{" + used + "}", "unknown placeholder '{" + used + "}' in a default",
                         did_you_mean_or_list(used, bake_placeholders()));
    }
  }
  return parameter;
}

std::map<std::string, std::vector<std::string>> read_packages(const Value& map, const ManifestContext& context) {
  std::map<std::string, std::vector<std::string>> packages;
  for (const auto& [family, names] : map.as_map("'packages'")) {
    if (!contains(kPackageFamilies, family)) continue;
    for (const auto& item : names.as_scalars("'" + family + "'")) {
      context.problems.attempt([&, &family = family] { packages[family].push_back(read_package_name(item, &context)); });
    }
  }
  return packages;
}

BuildNeeds read_build(const Value& map, const ManifestContext& context) {
  BuildNeeds build;
  if (!context.check_keys(map, "'build'", {"if", "packages", "network"})) return build;
  build.condition = read_condition(map["if"], context);
  if (const Value network = map["network"]; !network.is_null()) build.network = network.as_bool("'network'");
  const Value packages = map["packages"];
  if (context.check_keys(packages, "'packages'", kPackageFamilies)) build.packages = read_packages(packages, context);
  if (build.packages.empty() && !build.network) map.fail_at_key("'build' asks for nothing", "give it packages, or network: true");
  return build;
}

NodeCommand read_command(const Value& value, const std::string& name, const ManifestContext& context) {
  const std::string what = "command '" + name + "'";
  check_word_name(value, "command", name);
  NodeCommand command;
  context.check_keys(value, what, {"exec", "user", "doc"});
  command.exec = context.text(value.required(what, "exec"), "'exec'", true);
  if (const Value user = value["user"]; !user.is_null()) command.user = context.text(user, "'user'", true);
  if (const Value doc = value["doc"]; !doc.is_null()) command.doc = doc.as_string("'doc'");
  return command;
}

}  // namespace

void Problems::attempt(const std::function<void()>& body) {
  if (collected_ == nullptr) return body();
  try {
    body();
  } catch (const ConfigError& error) {
    collected_->push_back(error);
  }
}

bool ManifestContext::check_keys(const Value& map, std::string_view what, const std::vector<std::string>& known) const {
  bool is_map = false;
  problems.attempt([&] {
    const auto members = map.as_map(what);
    is_map = true;
    for (const auto& [key, value] : members) {
      if (contains(known, key)) continue;
      problems.attempt([&, &key = key, &value = value] {
        value.fail_at_key("unknown key " + in_quotes(key) + " in " + std::string(what), did_you_mean_or_list(key, known));
      });
    }
  });
  return is_map;
}

void ManifestContext::check_placeholders(const Value& value, const std::string& text, bool on_node) const {
  for (const auto& name : value.at_this_place([&] { return placeholders(text); })) {
    if (module.params.contains(name) || contains(bake_placeholders(), name)) continue;
    const bool of_node = contains(node_placeholders(), name);
    if (of_node && on_node) continue;
    if (of_node) value.fail_at_part("{" + name + "}", "'{" + name + "}' is known on a node only, not while baking");
    std::vector<std::string> known = bake_placeholders();
    if (on_node) known.insert(known.end(), node_placeholders().begin(), node_placeholders().end());
    for (const auto& [parameter, unused] : module.params) known.push_back(parameter);
    std::string hint = did_you_mean(name, known);
    value.fail_at_part("{" + name + "}", "unknown placeholder '{" + name + "}'", hint.empty() ? "write '{{' and '}}' for braces" : hint);
  }
}

std::string ManifestContext::text(const Value& value, std::string_view what, bool on_node) const {
  std::string words = value.as_string(what);
  if (words.empty()) value.fail(std::string(what) + " is empty");
  check_placeholders(value, words, on_node);
  return words;
}

void check_word_name(const Value& at, std::string_view kind, const std::string& name) {
  bool good = !name.empty() && name.size() <= 64 && name[0] >= 'a' && name[0] <= 'z';
  for (const char letter : name)
    good = good && ((letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || letter == '_' || letter == '-');
  if (!good) at.fail_at_key(fmt::format("{} is no {} name: a letter, then a-z, 0-9, '_' and '-'", in_quotes(name), kind));
}

namespace {

struct PackageWords {
  std::string name;
  std::vector<std::string> architectures;  // empty: all
};

PackageWords split_package(const std::string& text) {
  const auto bracket = text.find(" [");
  if (bracket == std::string::npos || !text.ends_with(']')) return {text, {}};
  return {text.substr(0, bracket), split(text.substr(bracket + 2, text.size() - bracket - 3), ' ')};
}

}  // namespace

std::optional<std::string> package_on(const std::string& entry, const std::string& architecture) {
  const PackageWords words = split_package(entry);
  const auto& those = words.architectures;
  if (!those.empty() && std::find(those.begin(), those.end(), architecture) == those.end()) return std::nullopt;
  return words.name;
}

bool has_placeholder(const std::string& text) {
  for (std::size_t i = 0; (i = text.find('{', i)) != std::string::npos; i += 2) {
    if (text.compare(i, 2, "{{") != 0) return true;
  }
  return false;
}

std::string read_package_name(const Value& value, const ManifestContext* context) {
  const std::string text = value.as_string("a package's name");
  if (context != nullptr) context->check_placeholders(value, text, false);
  const PackageWords words = split_package(text);
  const std::string name = context != nullptr ? words.name : text;
  if (context != nullptr) {
    for (const auto& architecture : words.architectures) {
      if (architecture != "amd64" && architecture != "arm64")
        value.fail(in_quotes(text) + ": " + in_quotes(architecture) + " is no architecture", "amd64 or arm64");
    }
  }
  // They become arguments of the package manager: a leading '-' would be an option of it.
  static constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+._:=~/-";
  const std::string allowed = std::string(kLetters) + (context != nullptr ? "{}" : "");
  if (name.empty() || std::string_view("-+.:=~/").find(name[0]) != std::string_view::npos ||
      name.find_first_not_of(allowed) != std::string::npos) {
    value.fail(in_quotes(name) + " is no package name", name.find(' ') != std::string::npos ? "write the packages as a list" : "");
  }
  return text;
}

Condition read_condition(const Value& value, const ManifestContext& context) {
  Condition condition;
  std::vector<std::string> known;
  for (const auto& [name, parameter] : context.module.params) known.push_back(name);
  for (const auto& [name, wanted] : value.as_map("'if'")) {
    const auto parameter = context.module.params.find(name);
    if (parameter == context.module.params.end()) {
      wanted.fail_at_key("'if' names " + in_quotes(name) + ", which is no parameter of the module",
                         known.empty() ? "it has none" : did_you_mean_or_list(name, known));
    }
    const std::string text = wanted.is_null() ? std::string() : wanted.as_string("parameter '" + name + "' in 'if'");
    const auto& values = parameter->second.values;
    if (!values.empty() && !contains(values, text))
      wanted.fail("parameter '" + name + "' is never " + in_quotes(text), did_you_mean_or_list(text, values));
    condition[name] = text;
  }
  return condition;
}

std::string read_parameter_text(const Value& value, const std::string& what) {
  if (value.is_null()) return {};
  if (!value.is_list()) return value.as_string(what);
  std::string text;
  for (const auto& item : value.as_strings(what)) text += (text.empty() ? "" : " ") + item;
  return text;
}

std::string read_digest(const Value& value, const std::string& what, int bits) {
  std::string digest = value.as_string(what);
  if (has_placeholder(digest)) return digest;
  const auto length = static_cast<std::size_t>(bits / 4);
  for (char& letter : digest) {
    if (letter >= 'A' && letter <= 'F') letter = static_cast<char>(letter - 'A' + 'a');
  }
  if (const auto bad = digest.find_first_not_of("0123456789abcdef"); bad != std::string::npos) {
    value.fail(fmt::format("{} must be hex digits, found {}", what, in_quotes(digest.substr(bad, 1))));
  }
  if (digest.size() != length) {
    const bool is_other = digest.size() == 64 || digest.size() == 128;
    value.fail(fmt::format("{} must be {} hex digits, found {}", what, length, digest.size()),
               is_other ? fmt::format("it looks like a SHA-{}", digest.size() * 4) : "");
  }
  return digest;
}

Module read_manifest(const std::string& name, const Value& root, Problems& problems) {
  Module module;
  module.name = name;
  const ManifestContext context{module, problems};
  if (root.is_null()) {
    problems.attempt([&] { root.fail("the manifest is empty", "it needs at least 'summary: …'"); });
    return module;
  }
  if (!context.check_keys(root, "the manifest", kManifestKeys)) return module;

  problems.attempt([&] { module.summary = read_summary(root); });
  problems.attempt([&] {
    read_params(root["params"], problems, [&](const std::string& parameter, const Value& value) {
      // Known from now on even if its default is wrong: one mistake shall not make every use of it another.
      module.params[parameter] = {};
      module.params[parameter] = read_parameter(value, parameter);
    });
  });
  problems.attempt([&] { module.requires_modules = read_module_names(root["requires"], "requires", name); });
  problems.attempt([&] { module.after = read_module_names(root["after"], "after", name); });
  problems.attempt([&] {
    if (const Value network = root["network"]; !network.is_null()) module.network = network.as_bool("'network'");
  });
  problems.attempt([&] {
    const Value timeout = root["timeout"];
    if (timeout.is_null()) return;
    module.timeout = timeout.as_duration("'timeout'");
    if (module.timeout.count() <= 0) timeout.fail("'timeout' must be longer than nothing");
  });
  problems.attempt([&] {
    const Value packages = root["packages"];
    if (context.check_keys(packages, "'packages'", kPackageFamilies)) module.packages = read_packages(packages, context);
  });
  problems.attempt([&] {
    if (const Value build = root["build"]; !build.is_null()) module.build = read_build(build, context);
  });
  problems.attempt([&] { read_sources(root["sources"], context, module.sources); });
  problems.attempt([&] { read_services(root["services"], context, module.services); });
  problems.attempt([&] { check_service_graph(root["services"], context, module.services); });
  problems.attempt([&] {
    for (const auto& [command, value] : root["commands"].as_map("'commands'")) {
      problems.attempt([&, &command = command, &value = value] { module.commands[command] = read_command(value, command, context); });
    }
  });
  problems.attempt([&] { module.appliance = read_appliance(root["appliance"], context); });
  return module;
}

Module parse_module(const std::string& name, const std::string& file, const std::string& text) {
  check_module_name(name);
  Problems problems;
  return read_manifest(name, Value::parse(file, text), problems);
}

Module load_module(const fs::path& folder) {
  // "modules/spark/" and "." have no last name of their own.
  const fs::path whole = fs::absolute(folder).lexically_normal();
  const std::string name = (whole.filename().empty() ? whole.parent_path() : whole).filename().string();
  const std::string file = (folder / "module.yaml").string();
  Module module = parse_module(name, file, read_config_file(file));
  module.folder = folder;
  return module;
}

}  // namespace kiln::config
