// The options that describe a cluster, shared by the commands that take them.
#pragma once

#include "cli/command.h"
#include "config/cluster_spec.h"

namespace kiln::cli {

// As given; what was not given leaves the spec file's value, or the default.
struct ClusterOptions {
  std::string name, file;
  std::optional<std::string> provider, image, node_memory, master_memory, ttl, idle, swap, user_data, master_opts, deploy_root;
  std::optional<int> masters, workers, worker_instances;
  std::optional<double> node_cpus, master_cpus;
  std::vector<std::string> params;   // MODULE.PARAMETER=VALUE
  std::vector<std::string> with;     // modules
  std::vector<std::string> modules;  // folders
  // Of clusters on EC2, as the keys of a spec's `aws:`.
  Json aws = Json::object();
  std::string aws_option;  // one of those that were given
};

void add_cluster_options(CLI::App& app, ClusterOptions& options);
// File first, options on top. UsageError naming the option.
config::ClusterSpec to_cluster_spec(const ClusterOptions& options);

}  // namespace kiln::cli
