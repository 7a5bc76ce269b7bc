// The keeper: the process that a running local cluster is. It is PID 1 of a cell (container/cell.h) in which all of the cluster's
// namespaces, mounts, devices and processes live; with it they end, however it ends. keeper.cc says what it does.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/json.h"
#include "provider/local/record.h"

namespace kiln::provider::local {

struct KeeperOrder {
  std::filesystem::path folder;  // the cluster's, with its record
  bool fresh = true;             // false: a stopped cluster again. It is not removed when its launcher dies, but stopped
  Json documents;                // node's name → its document
};

// Starts the keeper of a cluster and returns when all its nodes run. `lock` (the cluster's) goes to the keeper. Until "commit" the
// keeper ends, and removes the cluster if it is fresh, when the other end of `lifeline` closes.
void start_keeper(const KeeperOrder& order, Fd lock, Fd lifeline);

// Takes the cluster out of sight at once and then removes it; what its nodes wrote can only be removed inside a cell (or by root).
// Returns where it lies now.
std::filesystem::path put_aside(const std::filesystem::path& folder);

}  // namespace kiln::provider::local
