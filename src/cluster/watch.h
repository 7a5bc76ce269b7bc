// Waiting for nodes to be ready, by their own word: one connection to the first master's agent tells all.
#pragma once

#include <set>
#include <string>

#include "cluster/session.h"

namespace kiln::cluster {

// What time it is for the agent that speaks for the cluster, in seconds since 1970. The launcher's own clock may be minutes off.
double time_there(Session& session);

// Follows the cluster's events from `since` (as time_there() tells it; earlier ones are history; 0: an agent that was just started has
// none) and hands them to this process's stream, until each of `nodes` has said that it is ready. Error when a service fails for good
// (node, service, last lines of its log) or a node's machine ends.
void wait_until_ready(Session& session, std::set<std::string> nodes, double since);

}  // namespace kiln::cluster
