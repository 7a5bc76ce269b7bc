// What has happened to a cluster's nodes since it was ready, by their own word.
#pragma once

#include <vector>

#include "base/activity.h"
#include "cluster/session.h"

namespace kiln::cluster {

// The messages of the nodes after `since` (seconds since 1970), in their order: nodes lost and back, services started anew, notices from
// the cloud. The first master's agent keeps them for as long as it runs. Empty when the cluster does not run; Error when no agent answers.
std::vector<Event> messages_since(Session& session, double since);

}  // namespace kiln::cluster
