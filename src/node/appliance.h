// The image simply run by a container engine: `docker run IMAGE [options | command]`. What would be in a node document stands in
// environment variables and options then; modules say which (`appliance:` in their manifests, docs/modules.md).
//
// The node is a cluster of its own, with the services that are switched on and no others. It has no channel and no secret: nobody else
// knows of it. Others know its address, not its name, so its address is the node's name. The engine made /etc/hosts and the host's name;
// they stay as they are. Services' output goes to the container's; when one has failed for good the container ends with 1.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/module.h"
#include "config/node_document.h"
#include "node/paths.h"
#include "node/spawn.h"

namespace kiln::node {

// How an agent runs that is no part of a cluster.
struct Standalone {
  std::map<std::string, bool> services;  // MODULE.SERVICE: on or off; those that are not named are off
  Environment environment;               // the container's, less what was meant for us: for scripts and services
};

struct Appliance {
  std::vector<config::NodeDocument::ModuleParams> modules;
  Standalone standalone;
};
// `words` follow the image's name; `environment` is the container's. UsageError naming the variable or option that is wrong. An empty
// value is as good as none for a parameter, and off for a service.
Appliance plan_appliance(const std::vector<config::Module>& manifests, const std::vector<std::string>& words,
                         const Environment& environment);

// All modules of the image, by name.
std::vector<config::Module> image_modules(const Paths& paths);
// The variables and options of this image, for people.
std::string appliance_help(const std::vector<config::Module>& manifests);
// The document of the one node there is.
config::NodeDocument appliance_document(Appliance& appliance, const Paths& paths);

// Writes whole lines of services' output to standard output, each behind its service's name.
class OutputLines {
 public:
  void write(const std::string& service, std::string_view bytes);

 private:
  std::map<std::string, std::string> rests_;
};

}  // namespace kiln::node
