// The node document: the one JSON object a node boots from. Format, version 1:
//
//   { "kiln": 1, "cluster": "demo", "node": "worker-1", "role": "worker", "address": "10.88.0.3",
//     "nodes":   [{"name": "master-1", "role": "master", "address": "10.88.0.2"}, …],     // all masters, others as far as they are known;
//                                                                                       // the masters' agents tell the rest, and the
//                                                                                       // addresses that masters have not got yet
//     "modules": [{"name": "spark", "params": {"worker_memory": "1g"}}],                // parameters that differ from the image's
//     "cpus": 2, "memory_bytes": 2147483648,
//     "secret": "<64 hex>", "channel_port": 7099, "lease_until": 1767225600,
//     "idle_seconds": 1800,                                       // the cluster ends when nothing has gone on for so long (node/idle.h)
//     "swap_bytes": 4294967296, "user_data": "#!/bin/sh\n…",       // before modules are set up (node/preparation.h)
//     "power_off": true,                                          // when the lease ends: a cloud's machine goes with it
//     "spot": true,                                               // the cloud may take the machine back after a notice
//     "ssh": {"host_key": "-----BEGIN OPENSSH PRIVATE KEY-----…", "authorized_keys": ["ssh-ed25519 AAAA…"]} }   // for machines: their
//                                                                  // host key, known to the launcher beforehand, and who comes in as root
//
// Members with their default (no modules, no limits, no lease) may be left out. So may what a machine can tell itself (MachineFacts): one
// request to a cloud starts any number of instances, and gives all of them the same document. Then "address" is the machine's own, and
// "node" is the role and a number: "first_number" (1 when left out) plus the machine's place in its launch, or, where a cloud has
// no such places, the number at the end of the machine's name.
// It fits EC2's 16 KiB of user data with a thousand nodes left out of "nodes". It holds the cluster's secret: 0600, root only.
// Rejected: YAML (the agent would need a parser), one file a setting (not one atomic write).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "config/module.h"

namespace kiln::config {

inline constexpr int kChannelPort = 7099;

// The agent's exit code when the cluster is over (its lease has ended, it was idle for too long), where the machine is not its to switch
// off.
inline constexpr int kClusterIsOver = 70;

struct NodeEntry {
  std::string name;
  std::string role;  // master, worker
  std::string address;
  bool operator==(const NodeEntry&) const = default;
};

// What a cloud's metadata service says about the machine that asks.
struct MachineFacts {
  std::string id;                            // the cloud's own: i-0123…
  std::string name;                          // where machines have names
  std::string address;                       // IPv4, private
  std::optional<std::int64_t> launch_index;  // from 0, among those that one request started
  bool spot = false;                         // the cloud may take it back after a notice
};

struct NodeDocument {
  std::string cluster;
  std::string node;  // empty, only when written for machines that fill it in: see above
  std::string role;
  std::string address;  // as node
  int first_number = 1;
  std::vector<NodeEntry> nodes;
  struct ModuleParams {
    std::string name;
    Values params;
  };
  std::vector<ModuleParams> modules;
  double cpus = 0;
  std::int64_t memory_bytes = 0;
  std::string secret;
  int channel_port = kChannelPort;
  std::optional<std::int64_t> lease_until;  // seconds since 1970
  std::optional<std::chrono::seconds> idle;
  bool power_off = false;  // what becomes of the machine when the lease has ended, or the cluster was idle for too long
  bool spot = false;       // the machine is on the spot market: notices of its end are looked for
  struct Ssh {
    std::string host_key;  // OpenSSH's private format
    std::vector<std::string> authorized_keys;
  };
  std::optional<Ssh> ssh;
  std::int64_t swap_bytes = 0;  // of machines
  std::string user_data;        // a script, run once
};

// The largest document: EC2 gives 16 KiB; the local provider's holds every node of a cluster (some 100 bytes each).
inline constexpr std::size_t kMaxDocumentBytes = 4 << 20;

Json node_document_to_json(const NodeDocument& document);
// Error naming the member that is missing (and that `machine` does not tell), unknown, of the wrong type or out of range.
NodeDocument node_document_from_json(const Json& json, const MachineFacts& machine = {});
NodeDocument parse_node_document(const std::string& text, const MachineFacts& machine = {});

}  // namespace kiln::config
