// Inside of the manifest reader: its files share how problems are taken and what placeholders are known. See module.h for the outside.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "config/module.h"
#include "config/yaml.h"

namespace kiln::config {

// Where problems go: thrown at once (a bake stops at the first), or collected, so that `kiln module check` tells all in one go.
class Problems {
 public:
  explicit Problems(std::vector<ConfigError>* collected = nullptr) : collected_(collected) {}
  // Runs one part of the reading; when collecting, its problem is noted and the next part is read.
  void attempt(const std::function<void()>& body);

 private:
  std::vector<ConfigError>* collected_;
};

struct ManifestContext {
  const Module& module;  // its parameters are read before anything that may name them
  Problems& problems;

  // Each key that is not known is a problem of its own. False when `map` is no map.
  bool check_keys(const Value& map, std::string_view what, const std::vector<std::string>& known) const;
  // Placeholders in `value`'s text name parameters or built-in names, of a node too where `on_node`.
  void check_placeholders(const Value& value, const std::string& text, bool on_node) const;
  // Text with its placeholders checked.
  std::string text(const Value& value, std::string_view what, bool on_node) const;
};

// "a-z, then a-z 0-9 _ -": parameters, sources, services, ports, commands. They become parts of variables and file names.
void check_word_name(const Value& at, std::string_view kind, const std::string& name);
bool has_placeholder(const std::string& text);
// The names of distribution packages, placeholders allowed where `context` is given.
std::string read_package_name(const Value& value, const ManifestContext* context);
// The value of an `if:`; its names are parameters of the module.
Condition read_condition(const Value& value, const ManifestContext& context);
// A parameter's value as text: a list's items with blanks between.
std::string read_parameter_text(const Value& value, const std::string& what);
// 64 or 128 hex digits by `bits`, small letters; a placeholder is left as it is.
std::string read_digest(const Value& value, const std::string& what, int bits);

void read_sources(const Value& map, const ManifestContext& context, std::vector<SourceSpec>& sources);
void read_services(const Value& map, const ManifestContext& context, std::vector<Service>& services);
// Services of one module that wait for each other, and two that listen on one port of the same node.
void check_service_graph(const Value& map, const ManifestContext& context, const std::vector<Service>& services);

// `appliance:`, behind the parameters and services that it names.
Appliance read_appliance(const Value& map, const ManifestContext& context);

// Everything in one manifest; what is broken is left out where problems are collected.
Module read_manifest(const std::string& name, const Value& root, Problems& problems);

}  // namespace kiln::config
