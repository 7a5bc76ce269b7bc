// Placeholders and parameters: {name} in manifests. The agent needs this too, so it stands apart from the YAML side.
#include <algorithm>

#include "config/module.h"

namespace kiln::config {

namespace {

bool is_name_letter(char letter) {
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9') || letter == '_' ||
         letter == '-' || letter == '.';
}

// Calls `literal(text)` for what stands for itself and `name(name)` for each placeholder, in order.
template <class Literal, class Name>
void scan(const std::string& text, Literal&& literal, Name&& name) {
  for (std::size_t i = 0; i < text.size();) {
    const char letter = text[i];
    if (letter != '{' && letter != '}') {
      const std::size_t end = std::min(text.find_first_of("{}", i), text.size());
      literal(std::string_view(text).substr(i, end - i));
      i = end;
      continue;
    }
    if (i + 1 < text.size() && text[i + 1] == letter) {
      literal(std::string_view(text).substr(i, 1));
      i += 2;
      continue;
    }
    std::size_t end = i + 1;
    while (letter == '{' && end < text.size() && is_name_letter(text[end])) ++end;
    if (letter == '}' || end == i + 1 || end >= text.size() || text[end] != '}') {
      Error error(fmt::format("a lone '{}' in {}", letter, in_quotes(text)));
      error.set_hint(fmt::format("write '{0}{0}' for a brace", letter));
      throw error;
    }
    name(text.substr(i + 1, end - i - 1));
    i = end + 1;
  }
}

std::vector<std::string> keys_of(const Values& values) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : values) keys.push_back(key);
  return keys;
}

}  // namespace

std::string expand(const std::string& text, const Values& values) {
  std::string expanded;
  scan(
      text, [&](std::string_view literal) { expanded += literal; },
      [&](const std::string& name) {
        const auto found = values.find(name);
        if (found == values.end()) {
          Error error(fmt::format("unknown placeholder '{{{}}}' in {}", name, in_quotes(text)));
          error.set_hint(did_you_mean(name, keys_of(values)));
          throw error;
        }
        expanded += found->second;
      });
  return expanded;
}

std::vector<std::string> placeholders(const std::string& text) {
  std::vector<std::string> names;
  scan(
      text, [](std::string_view) {}, [&](std::string name) { names.push_back(std::move(name)); });
  return names;
}

const std::vector<std::string>& bake_placeholders() {
  static const std::vector<std::string> kNames = {"arch", "suite", "java_version", "python_version"};
  return kNames;
}

const std::vector<std::string>& node_placeholders() {
  static const std::vector<std::string> kNames = {"node", "address", "role", "cluster", "master", "module_dir", "instance"};
  return kNames;
}

bool is_enabled(const std::string& text) {
  std::string word;
  for (const char letter : text) word += letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  if (word == "true" || word == "yes" || word == "on" || word == "1") return true;
  if (word == "false" || word == "no" || word == "off" || word == "0" || word.empty()) return false;
  Error error(fmt::format("{} is neither yes nor no", in_quotes(text)));
  error.set_hint("true, yes, on or 1; false, no, off, 0 or nothing");
  throw error;
}

int instance_count(const std::string& text) {
  const bool number = !text.empty() && text.size() < 4 && text.find_first_not_of("0123456789") == std::string::npos;
  const int count = number ? std::stoi(text) : 0;
  if (count < 1 || count > kMaxInstances)
    fail("instances of a service must be a number from 1 to {}, found {}", kMaxInstances, in_quotes(text));
  return count;
}

std::string variable_name(const std::string& name) {
  std::string variable;
  for (const char letter : name) {
    if (letter >= 'a' && letter <= 'z') {
      variable += static_cast<char>(letter - 'a' + 'A');
    } else {
      variable += letter == '-' || letter == '.' ? '_' : letter;
    }
  }
  return variable;
}

bool holds(const Condition& condition, const Values& params) {
  return std::all_of(condition.begin(), condition.end(), [&](const auto& wanted) {
    const auto found = params.find(wanted.first);
    return found != params.end() && found->second == wanted.second;
  });
}

void check_parameter_value(const Module& module, const std::string& parameter, const std::string& value) {
  const auto found = module.params.find(parameter);
  if (found == module.params.end() || found->second.values.empty()) return;
  const auto& values = found->second.values;
  if (std::find(values.begin(), values.end(), value) != values.end()) return;
  UsageError error(fmt::format("parameter {} of module {} cannot be {}", in_quotes(parameter), in_quotes(module.name), in_quotes(value)));
  error.set_hint(did_you_mean_or_list(value, values));
  throw error;
}

Values effective_params(const Module& module, const Values& given, const Values& builtins) {
  std::vector<std::string> known;
  for (const auto& [name, parameter] : module.params) known.push_back(name);
  Values values;
  for (const auto& [name, value] : given) {
    if (!module.params.contains(name)) {
      Error error(fmt::format("module {} has no parameter {}", in_quotes(module.name), in_quotes(name)));
      error.set_hint(known.empty() ? "it has none" : did_you_mean_or_list(name, known));
      throw error;
    }
    check_parameter_value(module, name, value);
    values[name] = value;
  }
  for (const auto& [name, parameter] : module.params) {
    if (values.contains(name)) continue;
    values[name] = with_context("filling in parameter '" + name + "' of module '" + module.name + "'",
                                [&, &text = parameter.default_value] { return expand(text, builtins); });
  }
  return values;
}

}  // namespace kiln::config
