// One node inside the keeper: its root, its network namespace, its container.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/json.h"
#include "provider/provider.h"

namespace kiln::provider::local {

// What all nodes of a cluster share.
struct MachineRoom {
  std::filesystem::path folder;            // the cluster's
  std::vector<std::string> layer_folders;  // lowest first
  std::string subnet;
  std::string cgroup;    // empty: no limits
  bool way_out = false;  // there is a name server
};

// The program that is process 1 of every node: in the image's top layer.
inline constexpr const char* kAgent = "/usr/lib/kiln/kiln-node";

// Mounts, network and container; returns once its process 1 runs: that process. `document` becomes /run/kiln/node.json, and its
// "nodes" the first /etc/hosts. On failure remove_machine() clears what there is.
pid_t start_machine(const MachineRoom& room, const Node& node, const Json& document);

// Everything in the keeper that belongs to the node; its process must have ended. With its files on disk if `files`. Absent is fine.
void remove_machine(const MachineRoom& room, const Node& node, bool files);

// Removes a cgroup (v1: of every controller) and those below it; absent is fine. Waits up to a second for the last process to go.
void remove_cgroups(const std::string& cgroup);

// The text of a node's /etc/hosts.
std::string hosts_file(const Node& node, const Json& nodes);

}  // namespace kiln::provider::local
