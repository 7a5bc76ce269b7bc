// The node document: the one JSON object a node boots from. Format, version 1:
//
//   { "kiln": 1, "cluster": "demo", "node": "worker-1", "role": "worker", "address": "10.88.0.3",
//     "nodes":   [{"name": "master-1", "role": "master", "address": "10.88.0.2"}, …],     // all masters, others as far as they are known;
//                                                                                       // the masters' agents tell the rest
//     "modules": [{"name": "spark", "params": {"worker_memory": "1g"}}],                // parameters that differ from the image's
//     "cpus": 2, "memory_bytes": 2147483648,
//     "secret": "<64 hex>", "channel_port": 7099, "lease_until": 1767225600 }
//
// Members with their default (no modules, no limits, no lease) may be left out. It fits EC2's 16 KiB of user data with a thousand nodes
// left out of "nodes". It holds the cluster's secret: 0600, root only. Rejected: YAML (the agent would need a parser), one file a setting
// (not one atomic write).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "config/module.h"

namespace kiln::config {

inline constexpr int kChannelPort = 7099;

struct NodeEntry {
  std::string name;
  std::string role;  // master, worker
  std::string address;
  bool operator==(const NodeEntry&) const = default;
};

struct NodeDocument {
  std::string cluster;
  std::string node;
  std::string role;
  std::string address;
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
};

Json node_document_to_json(const NodeDocument& document);
// Error naming the member that is missing, unknown, of the wrong type or out of range.
NodeDocument node_document_from_json(const Json& json);
NodeDocument parse_node_document(const std::string& text);

}  // namespace kiln::config
