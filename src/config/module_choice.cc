#include "config/module_choice.h"

#include <algorithm>
#include <set>

#include "config/manifest.h"
#include "config/names.h"

namespace kiln::config {

namespace {

ModuleChoice read_choice(const Value& item) {
  ModuleChoice choice;
  choice.place = item.place();
  if (item.is_scalar()) {
    choice.name = item.as_string("a module's name");
    item.at_this_place([&] { check_module_name(choice.name); });
    return choice;
  }
  if (!item.is_map()) item.fail("each of 'modules' must be a name, or a name with parameters", "- spark, or - spark: {version: 4.1.1}");
  const auto members = item.as_map("a module");
  if (members.size() != 1) {
    const Value& second = members.size() > 1 ? members[1].second : item;
    second.fail_at_key("each item of 'modules' names one module",
                       "its parameters are indented below it, or in braces: - spark: {version: 4.1.1}");
  }
  const auto& [name, params] = members[0];
  choice.name = name;
  choice.place = params.key_place();
  try {
    check_module_name(name);
  } catch (const UsageError& error) {
    params.fail_at_key(error.message(), error.hint_text());
  }
  for (const auto& [parameter, value] : params.as_map("the parameters of module '" + name + "'")) {
    choice.params[parameter] = read_parameter_text(value, "parameter '" + parameter + "'");
    choice.param_places[parameter] = value.key_place();
  }
  return choice;
}

}  // namespace

std::vector<ModuleChoice> read_module_choices(const Value& value) {
  std::vector<ModuleChoice> choices;
  std::set<std::string> names;
  for (const auto& item : value.as_list("'modules'")) {
    ModuleChoice choice = read_choice(item);
    if (!names.insert(choice.name).second)
      choice.place.fail("module " + in_quotes(choice.name) + " is chosen twice", "give all its parameters in one place");
    choices.push_back(std::move(choice));
  }
  return choices;
}

std::vector<ModuleChoice> merge_module_choices(std::vector<ModuleChoice> under, const std::vector<ModuleChoice>& over) {
  for (const auto& choice : over) {
    const auto found = std::find_if(under.begin(), under.end(), [&](const auto& other) { return other.name == choice.name; });
    if (found == under.end()) {
      under.push_back(choice);
      continue;
    }
    found->place = choice.place;
    for (const auto& [name, value] : choice.params) found->params[name] = value;
    for (const auto& [name, place] : choice.param_places) found->param_places[name] = place;
  }
  return under;
}

void check_module_choice(const ModuleChoice& choice, const Module& manifest) {
  std::vector<std::string> known;
  for (const auto& [name, parameter] : manifest.params) known.push_back(name);
  for (const auto& [name, value] : choice.params) {
    const auto given = choice.param_places.find(name);
    const auto& place = given != choice.param_places.end() ? given->second : choice.place;
    if (manifest.params.contains(name)) {
      try {
        check_parameter_value(manifest, name, value);
      } catch (const UsageError& error) {
        place.fail(error.message(), error.hint_text());
      }
      continue;
    }
    place.fail("module " + in_quotes(choice.name) + " has no parameter " + in_quotes(name),
               known.empty() ? "it has none" : did_you_mean_or_list(name, known));
  }
}

}  // namespace kiln::config
