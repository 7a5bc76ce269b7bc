#include "node/appliance.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "config/diagnostic.h"
#include "config/json_reader.h"
#include "node/container.h"

namespace kiln::node {

namespace {

using Setting = config::Appliance::Setting;
using Switch = config::Appliance::Switch;

// A line that no output of ours is longer than; longer ones are broken.
constexpr std::size_t kMaxLineBytes = 64 << 10;

[[noreturn]] void fail_with_hint(std::string message, std::string hint) {
  UsageError error(std::move(message));
  error.set_hint(std::move(hint));
  throw error;
}

bool is_digits(std::string_view text) { return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos; }

// `source` is the variable or option that it came from.
void check_value(const Setting& setting, const std::string& source, const std::string& value) {
  if (!value.starts_with(setting.prefix))
    fail_with_hint(fmt::format("{} must begin with '{}', found '{}'", source, setting.prefix, value), "");
  if (setting.kind == "number" && (!is_digits(value) || value.size() > 6 || std::stoi(value) < 1))
    fail_with_hint(fmt::format("{} must be a whole number from 1, found '{}'", source, value), "");
  if (setting.kind == "size") {
    const bool has_unit = !value.empty() && std::string_view("kKmMgGtT").find(value.back()) != std::string_view::npos;
    const auto digits = std::string_view(value).substr(0, value.empty() ? 0 : value.size() - 1);
    if (!has_unit || !is_digits(digits) || digits.find_first_not_of('0') == std::string_view::npos)
      fail_with_hint(fmt::format("{} must be a size such as 512m or 2g, found '{}'", source, value), "");
  }
}

struct Values {
  std::map<std::string, std::map<std::string, std::string>> by_module;
  bool given(const std::string& module, const std::string& param) const {
    const auto found = by_module.find(module);
    return found != by_module.end() && found->second.count(param) != 0;
  }
};

void take_variables(const std::vector<config::Module>& manifests, const Environment& environment, Values& values) {
  for (const auto& module : manifests) {
    for (const auto& setting : module.appliance.params) {
      const auto found = environment.find(setting.variable);
      if (setting.variable.empty() || found == environment.end() || trim(found->second).empty()) continue;
      const std::string value(trim(found->second));
      check_value(setting, setting.variable, value);
      values.by_module[module.name][setting.param] = value;
    }
  }
}

// Options go over variables.
void take_options(const std::vector<config::Module>& manifests, const std::vector<std::string>& words, Values& values) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string option = words[i];
    std::optional<std::string> value;
    if (const auto equals = option.find('='); option.starts_with("--") && equals != std::string::npos) {
      value = option.substr(equals + 1);
      option.resize(equals);
    }
    const config::Module* owner = nullptr;
    const Setting* setting = nullptr;
    std::vector<std::string> known{"--help"};
    for (const auto& module : manifests) {
      for (const auto& each : module.appliance.params) {
        known.insert(known.end(), each.options.begin(), each.options.end());
        if (setting != nullptr || std::find(each.options.begin(), each.options.end(), option) == each.options.end()) continue;
        owner = &module;
        setting = &each;
      }
    }
    if (setting == nullptr) fail_with_hint(fmt::format("unknown option '{}'", option), config::did_you_mean_or_list(option, known));
    if (!value && i + 1 < words.size()) value = words[++i];
    if (!value) fail_with_hint(fmt::format("{} needs a value", option), "");
    if (trim(*value).empty()) continue;
    check_value(*setting, option, std::string(trim(*value)));
    values.by_module[owner->name][setting->param] = std::string(trim(*value));
  }
}

bool is_on(const config::Module& module, const Switch& entry, const Environment& environment, const Values& values) {
  if (const auto found = environment.find(entry.variable); !entry.variable.empty() && found != environment.end()) {
    const std::string word = to_lower(trim(found->second));
    try {
      return config::is_enabled(word);
    } catch (const Error&) {
      fail_with_hint(fmt::format("{} must be yes or no, found '{}'", entry.variable, found->second), "an empty value means no");
    }
  }
  return entry.on && (entry.if_given.empty() || values.given(module.name, entry.if_given)) &&
         (entry.unless_given.empty() || !values.given(module.name, entry.unless_given));
}

// What would turn the service on: "START_MASTER" or "MASTER_STRING".
std::string how_to_switch(const config::Module& module, const std::string& service) {
  for (const auto& entry : module.appliance.services) {
    if (entry.service != service) continue;
    if (!entry.variable.empty()) return entry.variable;
    for (const auto& setting : module.appliance.params)
      if (setting.param == entry.if_given && !setting.variable.empty()) return setting.variable;
  }
  return service;
}

void check_needs(const config::Module& module, const std::map<std::string, bool>& on) {
  for (const auto& entry : module.appliance.services) {
    const auto is_set = [&](const std::string& service) {
      const auto found = on.find(module.name + "." + service);
      return found != on.end() && found->second;
    };
    if (!is_set(entry.service) || entry.needs.empty() || std::any_of(entry.needs.begin(), entry.needs.end(), is_set)) continue;
    std::vector<std::string> ways;
    for (const auto& service : entry.needs) ways.push_back(how_to_switch(module, service));
    fail_with_hint(fmt::format("{} is on, and nothing that it needs", entry.service), "set " + join(ways, " or "));
  }
}

}  // namespace

std::vector<config::Module> image_modules(const Paths& paths) {
  std::vector<config::Module> manifests;
  std::error_code error;
  std::vector<std::filesystem::path> folders;
  for (const auto& entry : std::filesystem::directory_iterator(paths.modules(), error)) folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end());
  for (const auto& folder : folders) {
    const auto text = read_file_if_there(folder / "module.json");
    if (!text) continue;
    with_context("reading '" + (folder / "module.json").native() + "'", [&] {
      const Json json = Json::parse(*text, nullptr, false);
      if (json.is_discarded()) throw Error("it is no JSON");
      manifests.push_back(config::module_from_json(json));
      manifests.back().name = folder.filename();
    });
  }
  return manifests;
}

Appliance plan_appliance(const std::vector<config::Module>& manifests, const std::vector<std::string>& words,
                         const Environment& environment) {
  Values values;
  take_variables(manifests, environment, values);
  take_options(manifests, words, values);

  Appliance appliance;
  appliance.standalone.environment = environment;
  // What a shell or an engine sets for its own process.
  for (const char* name : {"HOME", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "SHLVL", "_", "TERM"})
    appliance.standalone.environment.erase(name);
  auto& on = appliance.standalone.services;
  std::vector<std::string> switches;
  for (const auto& module : manifests) {
    appliance.modules.push_back({module.name, values.by_module[module.name]});
    for (const auto& setting : module.appliance.params) appliance.standalone.environment.erase(setting.variable);
    for (const auto& entry : module.appliance.services) {
      on[module.name + "." + entry.service] = is_on(module, entry, environment, values);
      if (!entry.variable.empty()) switches.push_back(entry.variable);
    }
    check_needs(module, on);
  }
  if (on.empty()) fail_with_hint("no module of this image says what it does by itself", "name a command to run: docker run IMAGE COMMAND");
  if (std::none_of(on.begin(), on.end(), [](const auto& each) { return each.second; }))
    fail_with_hint("everything is switched off: there is nothing to run", "set " + join(switches, " or "));
  return appliance;
}

std::string appliance_help(const std::vector<config::Module>& manifests) {
  std::string text =
      "usage: docker run [-e VARIABLE=VALUE …] IMAGE [options]      run what the variables switch on\n"
      "       docker run IMAGE COMMAND [arguments]              run COMMAND instead\n\n";
  for (const auto& module : manifests) {
    for (const auto& entry : module.appliance.services) {
      if (entry.variable.empty()) continue;
      std::string otherwise = entry.on ? "yes" : "no";
      for (const auto& setting : module.appliance.params) {
        if (setting.param == entry.unless_given) otherwise += ", but no with " + setting.variable;
        if (setting.param == entry.if_given) otherwise += ", but no without " + setting.variable;
      }
      text += fmt::format("  {:<28} {} of {}: yes or no; empty means no (default: {})\n", entry.variable, entry.service, module.name,
                          otherwise);
    }
    for (const auto& setting : module.appliance.params) {
      std::string names = setting.variable;
      for (const auto& option : setting.options) names += (names.empty() ? "" : ", ") + option;
      const auto param = module.params.find(setting.param);
      text += fmt::format("  {:<28} {}\n", names, param == module.params.end() ? "" : param->second.doc);
    }
  }
  return text;
}

config::NodeDocument appliance_document(Appliance& appliance, const Paths& paths) {
  config::NodeDocument document;
  char hostname[256] = "";
  ::gethostname(hostname, sizeof hostname - 1);
  auto& environment = appliance.standalone.environment;
  if (const auto chosen = environment.find("KILN_ADDRESS"); chosen != environment.end() && !chosen->second.empty()) {
    document.address = chosen->second;
  } else {
    document.address = own_address(read_file_if_there(paths.etc("hosts")).value_or(""), hostname);
  }
  document.node = document.address;
  document.role = "master";
  document.nodes = {{document.node, document.role, document.address}};
  document.modules = appliance.modules;
  const auto limits = container_limits("/sys/fs/cgroup");
  document.cpus = limits.cpus;
  document.memory_bytes = limits.memory_bytes;
  return document;
}

void OutputLines::write(const std::string& service, std::string_view bytes) {
  std::string& rest = rests_[service];
  rest += bytes;
  std::string text;
  std::size_t begin = 0;
  for (auto end = rest.find('\n'); end != std::string::npos; end = rest.find('\n', begin)) {
    text += service + ": " + rest.substr(begin, end - begin) + "\n";
    begin = end + 1;
  }
  rest.erase(0, begin);
  if (rest.size() > kMaxLineBytes) text += service + ": " + std::exchange(rest, "") + "\n";
  for (std::string_view left = text; !left.empty();) {
    const ssize_t count = ::write(STDOUT_FILENO, left.data(), left.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;  // nobody listens any more
    left.remove_prefix(static_cast<std::size_t>(count));
  }
}

}  // namespace kiln::node
