#include "cluster/ui.h"

#include "base/error.h"

namespace kiln::cluster {

std::vector<WebPage> open_web_pages(Session& session) {
  std::vector<WebPage> pages;
  for (const auto& module : session.modules()) {
    for (const auto& service : module.manifest.services) {
      if (!service.ui || !config::is_enabled(config::expand(service.enabled, module.params))) continue;
      // Workers' pages are reached through the master's (it proxies them): one page each would be hundreds.
      const auto nodes = service.on == "worker" ? session.workers() : session.masters();
      if (nodes.empty() || service.on == "worker") continue;
      const std::string port = config::expand(service.ui->port, module.params);
      const std::string address = session.provider().forward(session.cluster().name, nodes.front(), std::stoi(port));
      const std::string name = module.manifest.name + "." + service.name;
      pages.push_back({service.ui->title.empty() ? name : service.ui->title, name, nodes.front(), "http://" + address + service.ui->path});
    }
  }
  return pages;
}

}  // namespace kiln::cluster
