// The manifest's `services:`: each service by itself, then how they wait for each other.
#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "base/strings.h"
#include "config/manifest.h"
#include "config/names.h"

namespace kiln::config {

namespace {

const std::vector<std::string> kServiceKeys = {"on",      "user",  "exec", "env",   "directory", "ports", "ui",
                                               "enabled", "after", "gate", "ready", "restart",   "stop",  "instances"};

constexpr std::size_t kMaxServices = 100;

// Nothing: no number. -1: out of range.
std::optional<int> port_number(const std::string& text) {
  int number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code == std::errc::invalid_argument || end != text.data() + text.size()) return {};
  return code == std::errc{} && number >= 1 && number <= 65535 ? number : -1;
}

// A port's number, or a text with a placeholder whose number is known only when that is.
std::string read_port(const Value& value, const std::string& what, const ManifestContext& context) {
  const std::string text = context.text(value, what, true);
  if (has_placeholder(text)) return text;
  const auto number = port_number(text);
  if (!number) value.fail(fmt::format("{} must be a port's number, found {}", what, in_quotes(text)));
  if (*number < 0) value.fail(fmt::format("{} must be 1 to 65535, found {}", what, in_quotes(text)));
  return text;
}

std::map<std::string, std::string> read_ports(const Value& map, const ManifestContext& context) {
  std::map<std::string, std::string> ports, names;
  for (const auto& [name, value] : map.as_map("'ports'")) {
    check_word_name(value, "port", name);
    const std::string port = read_port(value, "port '" + name + "'", context);
    const auto [other, is_new] = names.emplace(port, name);
    if (!is_new) value.fail(fmt::format("ports '{}' and '{}' are both {}", other->second, name, port));
    ports[name] = port;
  }
  return ports;
}

std::map<std::string, std::string> read_env(const Value& map, const ManifestContext& context) {
  std::map<std::string, std::string> env;
  for (const auto& [name, value] : map.as_map("'env'")) {
    bool good = !name.empty() && !(name[0] >= '0' && name[0] <= '9');
    for (const char letter : name) {
      good = good &&
             ((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9') || letter == '_');
    }
    if (!good) value.fail_at_key(in_quotes(name) + " is no name of a variable");
    if (name.starts_with("KILN_"))
      value.fail_at_key("variable " + in_quotes(name) + " is kiln's own", "names that start with KILN_ are set by kiln");
    std::string text = value.is_null() ? "" : value.as_string("variable '" + name + "'");
    context.check_placeholders(value, text, true);
    env[name] = std::move(text);
  }
  return env;
}

Service::Page read_page(const Value& value, const ManifestContext& context) {
  value.only_keys("'ui'", {"port", "path", "title"});
  Service::Page page;
  page.port = read_port(value.required("'ui'", "port"), "'port'", context);
  if (const Value path = value["path"]; !path.is_null()) {
    page.path = context.text(path, "'path'", true);
    if (page.path[0] != '/' && page.path[0] != '{') path.fail("a page's path starts with '/'", "write '/" + page.path + "'");
  }
  if (const Value title = value["title"]; !title.is_null()) page.title = context.text(title, "'title'", true);
  return page;
}

int read_seconds(const Value& value, const std::string& what, int min) {
  const auto seconds = value.as_duration(what, true).count();
  if (seconds < min || seconds > kMaxServiceSeconds) value.fail(fmt::format("{} must be {} to {} seconds", what, min, kMaxServiceSeconds));
  return static_cast<int>(seconds);
}

void check_tcp_target(const Value& value, const std::string& target) {
  // The port is what follows the last ':', unless a placeholder stands there.
  const std::string port = target.substr(target.rfind(':') == std::string::npos ? 0 : target.rfind(':') + 1);
  if (has_placeholder(port)) return;
  const auto number = port_number(port);
  if (!number) value.fail("'tcp' must be a port or host:port, found " + in_quotes(target));
  if (*number < 0) value.fail("'tcp' must name a port from 1 to 65535, found " + in_quotes(target));
}

Ready read_ready(const Value& value, const ManifestContext& context) {
  static const std::vector<std::pair<std::string, Ready::Kind>> kKinds = {
      {"http", Ready::Kind::kHttp}, {"tcp", Ready::Kind::kTcp}, {"exec", Ready::Kind::kExec}, {"log", Ready::Kind::kLog}};
  value.only_keys("'ready'", {"http", "tcp", "exec", "log", "contains", "timeout"});
  Ready ready;
  std::string kind_key;
  for (const auto& [key, kind] : kKinds) {
    const Value given = value[key];
    if (given.is_null()) continue;
    if (!kind_key.empty()) given.fail_at_key(fmt::format("'ready' is either '{}' or '{}'", kind_key, key));
    kind_key = key;
    ready.kind = kind;
    if (kind == Ready::Kind::kLog && given.is_list()) {
      for (const auto& item : given.as_list("'log'"))
        ready.target += (ready.target.empty() ? "" : "\n") + context.text(item, "'log'", true);
      if (ready.target.empty()) given.fail("'log' is empty");
      continue;
    }
    ready.target = context.text(given, "'" + key + "'", true);
    if (kind == Ready::Kind::kHttp && !ready.target.starts_with("http://") && !ready.target.starts_with("{")) {
      given.fail(in_quotes(ready.target) + " is no http:// URL",
                 ready.target.starts_with("https://") ? "the agent speaks no TLS; use 'tcp' or 'exec'" : "");
    }
    if (kind == Ready::Kind::kTcp) check_tcp_target(given, ready.target);
  }
  if (const Value words = value["contains"]; !words.is_null()) {
    if (ready.kind != Ready::Kind::kHttp) words.fail_at_key("'contains' goes with 'http' only");
    ready.contains = context.text(words, "'contains'", true);
  }
  if (kind_key.empty()) value.fail("'ready' says no way to find out", "one of http, tcp, exec, log");
  if (const Value timeout = value["timeout"]; !timeout.is_null()) ready.timeout_seconds = read_seconds(timeout, "'timeout'", 1);
  return ready;
}

void read_stop(const Value& value, Service& service) {
  value.only_keys("'stop'", {"signal", "timeout"});
  if (const Value given = value["signal"]; !given.is_null()) {
    std::string signal = given.as_string("'signal'");
    if (signal.starts_with("SIG")) signal.erase(0, 3);
    if (std::find(stop_signals().begin(), stop_signals().end(), signal) == stop_signals().end()) {
      std::string capitals = variable_name(signal);
      if (capitals.starts_with("SIG")) capitals.erase(0, 3);
      const bool is_case = std::find(stop_signals().begin(), stop_signals().end(), capitals) != stop_signals().end();
      given.fail("'signal' cannot be " + in_quotes(signal),
                 is_case ? "write it in capitals: '" + capitals + "'" : did_you_mean_or_list(capitals, stop_signals()));
    }
    service.stop_signal = signal;
  }
  if (const Value timeout = value["timeout"]; !timeout.is_null()) service.stop_timeout_seconds = read_seconds(timeout, "'timeout'", 0);
}

std::vector<std::string> read_service_names(const Value& value, const std::string& key) {
  std::vector<std::string> names;
  for (const auto& item : value.as_scalars("'" + key + "'")) {
    const std::string name = item.as_string("a service's name");
    if (std::find(names.begin(), names.end(), name) != names.end()) item.fail("service " + in_quotes(name) + " is named twice");
    names.push_back(name);
  }
  return names;
}

Service read_service(const Value& value, const std::string& name, const ManifestContext& context) {
  const std::string what = "service '" + name + "'";
  check_word_name(value, "service", name);
  Service service;
  service.name = name;
  if (value.is_null()) value.fail_at_key(what + " has no value");
  if (!context.check_keys(value, what, kServiceKeys)) return service;
  const auto part = [&](const char* key, const std::function<void(const Value&)>& read) {
    context.problems.attempt([&] {
      if (const Value member = value[key]; !member.is_null()) read(member);
    });
  };
  context.problems.attempt([&] { service.exec = context.text(value.required(what, "exec"), "'exec'", true); });
  part("on", [&](const Value& member) { service.on = member.as_word("'on'", service_roles()); });
  part("user", [&](const Value& member) {
    service.user = context.text(member, "'user'", true);
    if (service.user.find_first_of(" \t:/") != std::string::npos) member.fail(in_quotes(service.user) + " is no user's name");
  });
  part("directory", [&](const Value& member) {
    service.directory = context.text(member, "'directory'", true);
    if (service.directory[0] != '/' && service.directory[0] != '{')
      member.fail("'directory' must be an absolute path, found " + in_quotes(service.directory));
  });
  part("env", [&](const Value& member) { service.env = read_env(member, context); });
  part("ports", [&](const Value& member) { service.ports = read_ports(member, context); });
  part("ui", [&](const Value& member) { service.ui = read_page(member, context); });
  part("enabled", [&](const Value& member) {
    service.enabled = member.as_string("'enabled'");
    context.check_placeholders(member, service.enabled, true);
    if (!has_placeholder(service.enabled)) member.at_this_place([&] { is_enabled(service.enabled); });
  });
  part("instances", [&](const Value& member) {
    service.instances = context.text(member, "'instances'", true);
    if (!has_placeholder(service.instances)) member.at_this_place([&] { instance_count(service.instances); });
  });
  part("after", [&](const Value& member) { service.after = read_service_names(member, "after"); });
  part("gate", [&](const Value& member) { service.gate = read_service_names(member, "gate"); });
  part("ready", [&](const Value& member) { service.ready = read_ready(member, context); });
  part("restart", [&](const Value& member) { service.restart = member.as_word("'restart'", restart_policies()); });
  part("stop", [&](const Value& member) { read_stop(member, service); });
  return service;
}

// One service waits for another of the same module.
struct Wait {
  std::size_t target;
  Value place;
};

// The service of this module that `name` means; nothing when it is another module's. ConfigError when ours has none such.
std::optional<std::size_t> own_service(const Value& place, const std::string& name, const ManifestContext& context,
                                       const std::vector<Service>& services) {
  std::string service = name;
  if (const std::size_t dot = name.rfind('.'); dot != std::string::npos) {
    const std::string module = name.substr(0, dot);
    service = name.substr(dot + 1);
    if (module != context.module.name) {
      place.at_this_place([&] { check_module_name(module); });
      if (service.empty()) place.fail(in_quotes(name) + " is no service", "MODULE.SERVICE, or SERVICE of this module");
      return {};
    }
  }
  std::vector<std::string> known;
  for (std::size_t i = 0; i < services.size(); ++i) {
    if (services[i].name == service) return i;
    known.push_back(services[i].name);
  }
  const std::string near = did_you_mean(service, known);
  place.fail("this module has no service " + in_quotes(service),
             near.empty() ? "another module's service is written MODULE.SERVICE" : near);
}

// Follows the waits from `start`; ConfigError when they come back to it. `path`: the services on the way.
class CycleFinder {
 public:
  CycleFinder(const std::vector<std::vector<Wait>>& waits, const std::vector<Service>& services)
      : waits_(waits), services_(services), state_(services.size()) {}

  void visit(std::size_t service) {
    state_[service] = State::kOpen;
    path_.push_back(service);
    for (const auto& wait : waits_[service]) {
      if (state_[wait.target] == State::kOpen) fail(wait);
      if (state_[wait.target] == State::kNew) visit(wait.target);
    }
    path_.pop_back();
    state_[service] = State::kDone;
  }
  void visit_all() {
    for (std::size_t i = 0; i < services_.size(); ++i) {
      if (state_[i] == State::kNew) visit(i);
    }
  }

 private:
  enum class State { kNew, kOpen, kDone };

  [[noreturn]] void fail(const Wait& wait) const {
    std::string chain;
    for (auto step = std::find(path_.begin(), path_.end(), wait.target); step != path_.end(); ++step)
      chain += services_[*step].name + " → ";
    wait.place.fail("services wait for each other: " + chain + services_[wait.target].name);
  }

  const std::vector<std::vector<Wait>>& waits_;
  const std::vector<Service>& services_;
  std::vector<State> state_;
  std::vector<std::size_t> path_;
};

void check_shared_ports(const Value& map, const ManifestContext& context, const std::vector<Service>& services) {
  for (std::size_t i = 0; i < services.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const Service &later = services[i], &earlier = services[j];
      // Two that are never on at once may share a port; whether they are, only constants tell.
      const bool both = (later.on == earlier.on || later.on == "all" || earlier.on == "all") && !has_placeholder(later.enabled) &&
                        !has_placeholder(earlier.enabled);
      if (!both || !is_enabled(later.enabled) || !is_enabled(earlier.enabled)) continue;
      for (const auto& [name, port] : later.ports) {
        for (const auto& [other_name, other_port] : earlier.ports) {
          if (port != other_port) continue;
          context.problems.attempt([&, &name = name, &port = port] {
            map[later.name]["ports"][name].fail(fmt::format("port {} is taken by service '{}' on the same node", port, earlier.name));
          });
        }
      }
    }
  }
}

}  // namespace

void read_services(const Value& map, const ManifestContext& context, std::vector<Service>& services) {
  const auto members = map.as_map("'services'");
  // Far beyond any real module; it bounds the recursion and the comparisons below.
  if (members.size() > kMaxServices) map.fail(fmt::format("a module has at most {} services", kMaxServices));
  for (const auto& [name, value] : members) {
    context.problems.attempt([&, &name = name, &value = value] { services.push_back(read_service(value, name, context)); });
  }
}

void check_service_graph(const Value& map, const ManifestContext& context, const std::vector<Service>& services) {
  // A gate counts as waiting: a service is not ready before its gate opens, so whoever waits for it waits for the gate's services too.
  std::vector<std::vector<Wait>> waits(services.size());
  for (std::size_t i = 0; i < services.size(); ++i) {
    for (const char* key : {"after", "gate"}) {
      const Value list = map[services[i].name][key];
      // A list that could not be read has been told already.
      if (!list.is_scalar() && !list.is_list()) continue;
      for (const auto& item : list.is_list() ? list.as_list(key) : std::vector<Value>{list}) {
        if (!item.is_scalar()) continue;
        context.problems.attempt([&] {
          if (const auto target = own_service(item, item.as_string(key), context, services)) waits[i].push_back({*target, item});
        });
      }
    }
  }
  context.problems.attempt([&] { CycleFinder(waits, services).visit_all(); });
  check_shared_ports(map, context, services);
}

}  // namespace kiln::config
