// What a cluster shall be: from `-f cluster.yaml`, from options, or both (options win).
//
//   name: demo
//   on: local
//   image: spark
//   masters: 1
//   workers: 2
//   node: {cpus: 2, memory: 2g}      # each node; 0 or absent: its share of this machine
//   master: {cpus: 1, memory: 1g}    # where masters differ
//   modules: [spark: {worker_memory: 1g}]   # parameters at launch
//   ttl: 8h
//   deploy_root: ./deploy            # relative to the file, as is an image given as a spec file
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "config/image_spec.h"

namespace kiln::config {

struct Resources {
  double cpus = 0;                // 0: the provider decides
  std::int64_t memory_bytes = 0;  // 0: the provider decides
};

struct ClusterSpec {
  std::string name;
  std::string provider = "local";
  std::string image = "spark";  // image name or spec file
  int masters = 1;
  int workers = 2;
  Resources node;
  std::optional<Resources> master;
  std::vector<ModuleChoice> modules;  // launch-time parameters, modules to add
  std::optional<std::chrono::seconds> ttl;
  std::optional<std::filesystem::path> deploy_root;
};

inline constexpr int kMaxMasters = 9;
inline constexpr int kMaxWorkers = 5000;

ClusterSpec load_cluster_spec(const std::filesystem::path& file);
ClusterSpec parse_cluster_spec(const std::string& file, const std::string& text);
// Ranges and names, wherever the values came from. UsageError.
void check_cluster_spec(const ClusterSpec& spec);
Json cluster_spec_to_json(const ClusterSpec& spec);
ClusterSpec cluster_spec_from_json(const Json& json);

}  // namespace kiln::config
