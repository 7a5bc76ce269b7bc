// What this node shall run: the document's modules, read from the image, with parameters filled in and services resolved.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "config/module.h"
#include "config/node_document.h"
#include "node/paths.h"
#include "node/spawn.h"

namespace kiln::node {

// What the image is: "builtins" of /usr/lib/kiln/image.json, which bake/ writes, else guessed from /etc/os-release.
struct ImageFacts {
  std::string architecture, suite, java_version, python_version;
};
ImageFacts read_image_facts(const Paths& paths);

struct PlannedModule {
  config::Module manifest;
  config::Values params;  // the image's, the document's on top
  std::filesystem::path folder;
  std::vector<std::string> after;  // modules of the plan whose setup comes first
};

struct PlannedService {
  std::string name;  // MODULE.SERVICE, MODULE.SERVICE-2 …
  std::string module;
  config::Service spec;                  // expanded
  bool here = false;                     // its role is this node's and it is enabled
  std::vector<std::string> after, gate;  // full names; those that nobody runs are left out
};

struct Plan {
  std::vector<PlannedModule> modules;  // a module comes after those it needs
  std::vector<PlannedService> services;
  const PlannedModule* module(const std::string& name) const;
  const PlannedService* service(const std::string& name) const;
};

// Names of all modules that the document's modules need, with themselves. `manifests` must hold them.
// Error for modules or services that wait for each other, for placeholders without a value, a parameter the module doesn't have.
// Of a service with several `instances` the first has the service's name and ports; the second has "-2" behind its name, and each port one
// higher; and so on. Each knows its number (KILN_INSTANCE, {instance}). Who waits for the service waits for the first of them.
// `switches`: MODULE.SERVICE → whether it runs here, whatever its role and its own word; a service that is not among them does not.
Plan make_plan(const config::NodeDocument& document, const std::vector<config::Module>& manifests,
               const std::filesystem::path& modules_folder, const ImageFacts& facts, const std::map<std::string, bool>* switches = nullptr);
// The document's modules and what they require, from the image's folder. Error naming a module that the image lacks.
std::vector<config::Module> read_manifests(const config::NodeDocument& document, const Paths& paths);

// KILN_… of the node itself; of a module on top of it ("setup", "test", "run", or empty for services).
Environment node_environment(const config::NodeDocument& document, const ImageFacts& facts);
Environment module_environment(const PlannedModule& module, const Paths& paths, const std::string& stage);

}  // namespace kiln::node
