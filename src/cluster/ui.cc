#include "cluster/ui.h"

#include "base/error.h"

namespace kiln::cluster {

namespace {

// What stands for itself in the module's services on that node, as the node's agent has it (docs/modules.md).
config::Values values_on(const Session& session, const bake::ImageModule& module, const provider::Node& node) {
  config::Values values = module.params;
  values.merge(session.cluster().notes.value("builtins", config::Values()));
  values.merge(config::Values{{"node", node.name},
                              {"address", node.address},
                              {"role", node.role},
                              {"cluster", session.cluster().name},
                              {"master", session.masters().front()},
                              {"module_dir", "/usr/lib/kiln/modules/" + module.manifest.name}});
  return values;
}

}  // namespace

std::vector<WebPage> open_web_pages(Session& session, bool directly) {
  std::vector<WebPage> pages;
  for (const auto& module : session.modules()) {
    for (const auto& service : module.manifest.services) {
      // Workers' pages are reached through the master's (it proxies them): one page each would be hundreds.
      if (!service.ui || service.on == "worker") continue;
      const auto& node = session.node(session.masters().front());
      const auto values = values_on(session, module, node);
      if (!config::is_enabled(config::expand(service.enabled, values))) continue;
      const std::string port = config::expand(service.ui->port, values);
      const std::string address =
          directly ? node.name + ":" + port : session.provider().forward(session.cluster().name, node.name, std::stoi(port));
      const std::string name = module.manifest.name + "." + service.name;
      pages.push_back({service.ui->title.empty() ? name : service.ui->title, name, node.name, "http://" + address + service.ui->path});
    }
  }
  return pages;
}

}  // namespace kiln::cluster
