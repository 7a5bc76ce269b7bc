// What a container knows about itself: its address and what of the machine it may use.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace kiln::node {

// The address by which others reach this container: its engine's line in /etc/hosts (`hosts` is its text), the one that packets
// leave from, or any that is not loopback; 127.0.0.1 without a network.
std::string own_address(const std::string& hosts, const std::string& hostname);
// The IPv4 address that a hosts file gives the name; empty when there is none, or only a loopback one.
std::string address_in_hosts(const std::string& hosts, const std::string& hostname);

struct ContainerLimits {
  double cpus = 0;                // 0: no limit but the machine's
  std::int64_t memory_bytes = 0;  // the same
};
// By the control groups of version 2 or 1 below `root` (/sys/fs/cgroup), and the processors that this process may run on.
ContainerLimits container_limits(const std::filesystem::path& root);

}  // namespace kiln::node
