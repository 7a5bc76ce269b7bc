// Everything of a cluster that was lost, replaced.
#pragma once

#include <string>
#include <vector>

#include "cluster/session.h"

namespace kiln::cluster {

struct Repair {
  std::vector<std::string> masters, workers;  // that were replaced
  double seconds = 0;
};

// Masters whose machine is gone, and `given_up`, which are replaced though their machine runs; then workers, as resize() does. Returns when
// all services of the new nodes are ready and the other nodes' agents have found the new masters. Error when a master runs, does not
// answer and is not given up; when the provider cannot replace masters; when no copy is left of what the cluster was launched with.
Repair repair(Session& session, const std::vector<std::string>& given_up);

}  // namespace kiln::cluster
