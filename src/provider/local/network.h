// A cluster's network, all of it inside the keeper's own network namespace: a bridge, and for each node a namespace with one end of a
// veth pair. By rtnetlink(7) directly: three nodes take some milliseconds, where `ip` takes as long for each of its calls.
#pragma once

#include <filesystem>
#include <string>

namespace kiln::provider::local {

inline constexpr const char* kBridge = "kiln0";
inline constexpr int kPrefixBits = 16;

// Loopback up; the bridge with its address, up; packets forwarded.
void make_bridge(const std::string& address);

struct NodeNetwork {
  std::filesystem::path path;  // the namespace's name: a file under /run/netns
  std::string link;            // the bridge's end of the pair; at most 15 letters
  std::string address, gateway;
};
// Makes the namespace with eth0 inside and joins it to the bridge. Leaves the calling thread where it was; may be called from several.
void make_node_network(const NodeNetwork& network);
// Absent is fine.
void remove_node_network(const NodeNetwork& network);

}  // namespace kiln::provider::local
