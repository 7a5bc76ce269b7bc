// The web pages of a cluster's services, made reachable from this host.
#pragma once

#include <string>
#include <vector>

#include "cluster/session.h"

namespace kiln::cluster {

struct WebPage {
  std::string title, service, node, url;
};

// Forwards the page of every service that has one (the first master's) and gives their addresses. `directly`: nothing is forwarded, the
// addresses are the nodes' own.
std::vector<WebPage> open_web_pages(Session& session, bool directly = false);

}  // namespace kiln::cluster
