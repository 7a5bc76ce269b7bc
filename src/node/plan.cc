#include "node/plan.h"

#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "node/hosts.h"
#include "node/readiness.h"

namespace kiln::node {

namespace {

constexpr const char* architecture() {
#if defined(__x86_64__)
  return "amd64";
#else
  return "arm64";
#endif
}

std::string text_or_empty(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string names_of(const std::vector<config::NodeEntry>& nodes, const std::string& role) {
  std::string names;
  for (const auto& node : nodes)
    if (node.role == role) names += (names.empty() ? "" : " ") + node.name;
  return names;
}

// Items in an order in which each comes behind those it names; Error when there is none.
std::vector<std::string> in_order(const std::vector<std::string>& items, const std::string& what,
                                  const std::function<std::vector<std::string>(const std::string&)>& needs) {
  std::vector<std::string> order;
  std::map<std::string, int> seen;  // 1: being visited, 2: done
  const std::function<void(const std::string&)> visit = [&](const std::string& item) {
    int& state = seen[item];
    if (state == 2) return;
    if (state == 1) fail("{} wait for each other: '{}' among them", what, item);
    state = 1;
    for (const auto& need : needs(item)) visit(need);
    seen[item] = 2;
    order.push_back(item);
  };
  for (const auto& item : items) visit(item);
  return order;
}

std::string full_name(const std::string& module, const std::string& name) {
  return name.find('.') == std::string::npos ? module + "." + name : name;
}

config::Service expanded(config::Service service, const config::Values& values) {
  const auto fill = [&](std::string& text) { text = config::expand(text, values); };
  for (std::string* text :
       {&service.user, &service.exec, &service.directory, &service.enabled, &service.ready.target, &service.ready.contains})
    fill(*text);
  for (auto& [name, value] : service.env) fill(value);
  for (auto& [name, port] : service.ports) fill(port);
  return service;
}

// One of `count`, from 1.
PlannedService plan_instance(const std::string& module, const config::Service& written, config::Values values, int instance) {
  values["instance"] = std::to_string(instance);
  PlannedService service;
  service.name = module + "." + written.name + (instance == 1 ? "" : fmt::format("-{}", instance));
  service.module = module;
  service.spec = expanded(written, values);
  service.spec.env["KILN_INSTANCE"] = values["instance"];
  for (auto& [name, port] : service.spec.ports) {
    if (instance > 1) port = std::to_string(parse_tcp_target(port).second + instance - 1);
  }
  return service;
}

}  // namespace

ImageFacts read_image_facts(const Paths& paths) {
  ImageFacts facts;
  if (const auto text = read_file_if_there(paths.image())) {
    const Json json = Json::parse(*text, nullptr, false);
    // What a bake wrote: the names that are built in everywhere, as they were then.
    if (const auto values = json.is_object() ? json.find("builtins") : json.end(); values != json.end() && values->is_object())
      facts = {text_or_empty(*values, "arch"), text_or_empty(*values, "suite"), text_or_empty(*values, "java_version"),
               text_or_empty(*values, "python_version")};
  }
  if (facts.architecture.empty()) facts.architecture = architecture();
  if (facts.suite.empty()) {
    for (const auto& line : split(read_file_if_there(paths.etc("os-release")).value_or(""), '\n'))
      if (line.starts_with("VERSION_CODENAME=")) facts.suite = line.substr(17);
  }
  if (facts.java_version.empty()) facts.java_version = facts.suite == "bookworm" ? "17" : "21";
  if (facts.python_version.empty()) facts.python_version = facts.suite == "bookworm" ? "3.11" : facts.suite == "noble" ? "3.12" : "3.13";
  return facts;
}

const PlannedModule* Plan::module(const std::string& name) const {
  const auto found = std::find_if(modules.begin(), modules.end(), [&](const auto& module) { return module.manifest.name == name; });
  return found == modules.end() ? nullptr : &*found;
}

const PlannedService* Plan::service(const std::string& name) const {
  const auto found = std::find_if(services.begin(), services.end(), [&](const auto& service) { return service.name == name; });
  return found == services.end() ? nullptr : &*found;
}

std::vector<config::Module> read_manifests(const config::NodeDocument& document, const Paths& paths) {
  std::vector<config::Module> manifests;
  std::set<std::string> known;
  std::vector<std::string> wanted;
  for (const auto& module : document.modules) wanted.push_back(module.name);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto name = wanted[i];
    if (!known.insert(name).second) continue;
    const auto file = paths.modules() / name / "module.json";
    const auto text = read_file_if_there(file);
    if (!text) fail("module '{}' is not in this image: there is no '{}'", name, file.native());
    with_context("reading '" + file.native() + "'", [&] {
      const Json json = Json::parse(*text, nullptr, false);
      if (json.is_discarded()) throw Error("it is no JSON");
      auto manifest = config::module_from_json(json);
      manifest.name = name;
      wanted.insert(wanted.end(), manifest.requires_modules.begin(), manifest.requires_modules.end());
      manifests.push_back(std::move(manifest));
    });
  }
  return manifests;
}

Plan make_plan(const config::NodeDocument& document, const std::vector<config::Module>& manifests,
               const std::filesystem::path& modules_folder, const ImageFacts& facts, const std::map<std::string, bool>* switches) {
  std::map<std::string, const config::Module*> by_name;
  std::vector<std::string> names;
  for (const auto& manifest : manifests) {
    by_name[manifest.name] = &manifest;
    names.push_back(manifest.name);
  }
  const auto needs = [&](const std::string& name) {
    std::vector<std::string> result;
    for (const auto* list : {&by_name[name]->requires_modules, &by_name[name]->after})
      for (const auto& other : *list)
        if (by_name.count(other) != 0 && other != name) result.push_back(other);
    return result;
  };

  Plan plan;
  const auto* master = first_master(document.nodes);
  for (const auto& name : in_order(names, "modules", needs)) {
    PlannedModule module{*by_name[name], {}, modules_folder / name, needs(name)};
    for (const auto& [param, value] : module.manifest.params) module.params[param] = value.default_value;
    for (const auto& choice : document.modules) {
      if (choice.name != name) continue;
      for (const auto& [param, value] : choice.params) {
        if (module.params.count(param) == 0) fail("module '{}' has no parameter '{}'", name, param);
        module.params[param] = value;
      }
    }
    config::Values values = module.params;
    values.insert({{"arch", facts.architecture},
                   {"suite", facts.suite},
                   {"java_version", facts.java_version},
                   {"python_version", facts.python_version},
                   {"node", document.node},
                   {"address", document.address},
                   {"role", document.role},
                   {"cluster", document.cluster},
                   {"master", master != nullptr ? master->name : ""},
                   {"module_dir", module.folder.native()}});
    for (const auto& written : module.manifest.services) {
      const std::string service_name = name + "." + written.name;
      with_context("planning service '" + service_name + "'", [&] {
        const int count = config::instance_count(config::expand(written.instances, values));
        for (int instance = 1; instance <= count; ++instance) {
          PlannedService service = plan_instance(name, written, values, instance);
          bool enabled = config::is_enabled(service.spec.enabled);
          service.here = enabled && (written.on == "all" || written.on == document.role);
          if (switches != nullptr) {
            const auto found = switches->find(service_name);
            service.here = enabled = found != switches->end() && found->second;
          }
          service.spec.enabled = enabled ? "true" : "false";
          plan.services.push_back(std::move(service));
        }
      });
    }
    plan.modules.push_back(std::move(module));
  }

  // Nobody runs a disabled service, or one of a module that this cluster leaves out: there is nothing to wait for.
  const auto resolve = [&](const PlannedService& service, const std::vector<std::string>& written) {
    std::vector<std::string> result;
    for (const auto& dependency : written) {
      const auto name = full_name(service.module, dependency);
      const auto* other = plan.service(name);
      if (other == nullptr && name.starts_with(service.module + "."))
        fail("service '{}' waits for '{}', which module '{}' does not have", service.name, dependency, service.module);
      if (other != nullptr && other->spec.enabled == "true") result.push_back(name);
    }
    return result;
  };
  for (auto& service : plan.services) {
    service.after = resolve(service, service.spec.after);
    service.gate = resolve(service, service.spec.gate);
  }
  std::vector<std::string> service_names;
  for (const auto& service : plan.services) service_names.push_back(service.name);
  in_order(service_names, "services", [&](const std::string& name) {
    const auto* service = plan.service(name);
    auto all = service->after;
    all.insert(all.end(), service->gate.begin(), service->gate.end());
    return all;
  });
  return plan;
}

Environment node_environment(const config::NodeDocument& document, const ImageFacts& facts) {
  const auto* master = first_master(document.nodes);
  struct sysinfo machine {};
  ::sysinfo(&machine);
  const auto memory = document.memory_bytes > 0 ? document.memory_bytes
                                                : static_cast<std::int64_t>(machine.totalram) * static_cast<std::int64_t>(machine.mem_unit);
  // A whole number, for scripts' arithmetic: part of a processor still runs one task at a time.
  const auto cpus = document.cpus > 0 ? std::max<std::int64_t>(1, static_cast<std::int64_t>(document.cpus))
                                      : std::max<std::int64_t>(1, ::sysconf(_SC_NPROCESSORS_ONLN));
  return {{"KILN_ARCH", facts.architecture},
          {"KILN_SUITE", facts.suite},
          {"KILN_JAVA_VERSION", facts.java_version},
          {"KILN_PYTHON_VERSION", facts.python_version},
          {"KILN_CLUSTER", document.cluster},
          {"KILN_NODE", document.node},
          {"KILN_ROLE", document.role},
          {"KILN_ADDRESS", document.address},
          {"KILN_MASTER", master != nullptr ? master->name : ""},
          {"KILN_MASTERS", names_of(document.nodes, "master")},
          {"KILN_WORKERS", names_of(document.nodes, "worker")},
          {"KILN_CPUS", std::to_string(cpus)},
          {"KILN_MEMORY_MB", std::to_string(memory >> 20)}};
}

Environment module_environment(const PlannedModule& module, const Paths& paths, const std::string& stage) {
  Environment env{{"KILN_MODULE", module.manifest.name},
                  {"KILN_MODULE_DIR", module.folder.native()},
                  {"KILN_LOG_DIR", (paths.logs() / module.manifest.name).native()}};
  if (!stage.empty()) env["KILN_STAGE"] = stage;
  for (const auto& [name, value] : module.params) {
    std::string variable = "KILN_PARAM_";
    for (const char c : name) variable += c == '-' || c == '.' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    env[variable] = value;
  }
  return env;
}

}  // namespace kiln::node
