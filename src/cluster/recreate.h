// What resize and repair share of a launch that was long ago.
#pragma once

#include <string>
#include <vector>

#include "cluster/session.h"

namespace kiln::cluster {

// The request by which the cluster was made, from what was kept with it; without nodes.
provider::CreateRequest recreate_request(const provider::Cluster& cluster);
// Workers whose machine is gone, or runs while its agent has been silent for longer than a restart takes.
std::vector<std::string> lost_workers(Session& session);

}  // namespace kiln::cluster
