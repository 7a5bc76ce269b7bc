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
//   ttl: 8h                          # gone after so long, whatever happens
//   idle: 30m                        # gone when nothing has gone on for so long
//   swap: 4g                         # of each node, where nodes are machines
//   user_data: prepare.sh            # a script that each node runs once, before modules are set up; relative to the file
//   aws: {region: eu-central-1}      # on: aws (aws_spec.h)
//   deploy_root: ./deploy            # relative to the file, as is an image given as a spec file
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "config/aws_spec.h"
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
  std::optional<std::chrono::seconds> ttl, idle;
  std::optional<std::filesystem::path> deploy_root;
  std::int64_t swap_bytes = 0;
  std::string user_data;  // the script itself
  AwsSpec aws;            // of those on: aws
};

inline constexpr int kMaxMasters = 9;
inline constexpr int kMaxWorkers = 5000;

// A script for nodes. UsageError when it cannot be read, is none, or is too long for any place.
std::string read_user_data(const std::filesystem::path& file);
ClusterSpec load_cluster_spec(const std::filesystem::path& file);
ClusterSpec parse_cluster_spec(const std::string& file, const std::string& text);
// Ranges and names, wherever the values came from. UsageError.
void check_cluster_spec(const ClusterSpec& spec);
Json cluster_spec_to_json(const ClusterSpec& spec);
ClusterSpec cluster_spec_from_json(const Json& json);

}  // namespace kiln::config
