// Waiting for nodes to be ready, by their own word: one connection to the first master's agent tells all.
#pragma once

#include <set>
#include <string>

#include "cluster/session.h"

namespace kiln::cluster {

// Follows the cluster's events from `since` (seconds since 1970; earlier ones are history) and hands them to this process's stream,
// until each of `nodes` has said that it is ready. Error when a service fails for good (node, service, last lines of its log) or a
// node's machine ends.
void wait_until_ready(Session& session, std::set<std::string> nodes, double since);

}  // namespace kiln::cluster
