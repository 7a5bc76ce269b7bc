// Letting nodes finish what runs on them before they leave.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "cluster/session.h"

namespace kiln::cluster {

// How long running tasks of a leaving node may take, unless the user says otherwise.
inline constexpr std::chrono::seconds kDrainTime{600};

// The modules' drain.sh on each of the nodes, side by side: they take nothing new, hand on what others need, and have ended what ran there
// when this returns, or `at_most` has passed. A node that can't be asked is told (say()) and not waited for. Interrupted.
void drain(Session& session, const std::vector<std::string>& nodes, std::chrono::seconds at_most);

}  // namespace kiln::cluster
