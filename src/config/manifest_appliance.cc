// The manifest's `appliance:`: which environment variables and options mean which services and parameters when the image is simply run.
#include <algorithm>
#include <set>

#include "config/manifest.h"

namespace kiln::config {

namespace {

constexpr std::string_view kCapitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

std::string read_variable(const Value& value, std::set<std::string>& taken) {
  std::string name = value.as_string("'variable'");
  const bool good = !name.empty() && name[0] >= 'A' && name[0] <= 'Z' && name.find_first_not_of(kCapitals) == std::string::npos;
  if (!good) value.fail(in_quotes(name) + " is no variable's name: a letter, then A-Z, 0-9 and '_'");
  if (name.starts_with("KILN_")) value.fail("variables that begin with KILN_ are kiln's own");
  if (!taken.insert(name).second) value.fail("variable " + in_quotes(name) + " is there twice");
  return name;
}

std::string read_option(const Value& value, std::set<std::string>& taken) {
  std::string option = value.as_string("an option");
  const bool is_short = option.size() == 2 && option[0] == '-' && option[1] != '-';
  const bool is_long = option.size() > 3 && option.starts_with("--") && option.find_first_of(" =") == std::string::npos;
  if (!is_short && !is_long) value.fail(in_quotes(option) + " is no option: '-x' or '--word'");
  if (option == "-h" || option == "--help") value.fail(in_quotes(option) + " is kiln's own");
  if (!taken.insert(option).second) value.fail("option " + in_quotes(option) + " is there twice");
  return option;
}

std::string read_known(const Value& value, const std::string& what, const std::vector<std::string>& known) {
  std::string name = value.as_string(what);
  if (std::find(known.begin(), known.end(), name) == known.end())
    value.fail("this module has no " + what + " " + in_quotes(name), did_you_mean_or_list(name, known));
  return name;
}

}  // namespace

Appliance read_appliance(const Value& map, const ManifestContext& context) {
  Appliance appliance;
  if (map.is_null() || !context.check_keys(map, "'appliance'", {"services", "params"})) return appliance;
  std::vector<std::string> params, services;
  for (const auto& [name, unused] : context.module.params) params.push_back(name);
  for (const auto& service : context.module.services) services.push_back(service.name);
  std::set<std::string> variables, options;

  for (const auto& [name, value] : map["params"].as_map("'params'")) {
    context.problems.attempt([&, &name = name, &value = value] {
      if (!context.module.params.contains(name))
        value.fail_at_key("this module has no parameter " + in_quotes(name), did_you_mean_or_list(name, params));
      if (!context.check_keys(value, "setting '" + name + "'", {"variable", "options", "kind", "prefix"})) return;
      Appliance::Setting setting;
      setting.param = name;
      if (const Value given = value["variable"]; !given.is_null()) setting.variable = read_variable(given, variables);
      for (const auto& item : value["options"].as_scalars("'options'")) setting.options.push_back(read_option(item, options));
      if (const Value kind = value["kind"]; !kind.is_null()) setting.kind = kind.as_word("'kind'", setting_kinds());
      if (const Value prefix = value["prefix"]; !prefix.is_null()) setting.prefix = prefix.as_string("'prefix'");
      if (setting.variable.empty() && setting.options.empty())
        value.fail_at_key("setting " + in_quotes(name) + " has no variable and no option");
      appliance.params.push_back(std::move(setting));
    });
  }
  for (const auto& [name, value] : map["services"].as_map("'services'")) {
    context.problems.attempt([&, &name = name, &value = value] {
      if (std::find(services.begin(), services.end(), name) == services.end())
        value.fail_at_key("this module has no service " + in_quotes(name), did_you_mean_or_list(name, services));
      if (!context.check_keys(value, "service '" + name + "'", {"variable", "default", "if", "unless", "needs"})) return;
      Appliance::Switch entry;
      entry.service = name;
      if (const Value given = value["variable"]; !given.is_null()) entry.variable = read_variable(given, variables);
      if (const Value given = value["default"]; !given.is_null()) entry.on = given.as_bool("'default'");
      if (const Value given = value["if"]; !given.is_null()) entry.if_given = read_known(given, "parameter", params);
      if (const Value given = value["unless"]; !given.is_null()) entry.unless_given = read_known(given, "parameter", params);
      for (const auto& item : value["needs"].as_scalars("'needs'")) entry.needs.push_back(read_known(item, "service", services));
      appliance.services.push_back(std::move(entry));
    });
  }
  return appliance;
}

}  // namespace kiln::config
