// Which nodes a command means: --node, --role, --all.
#pragma once

#include "cli/command.h"
#include "cluster/session.h"

namespace kiln::cli {

struct NodeChoice {
  std::vector<std::string> nodes;
  std::string role;
  bool all = false;
};
void add_node_choice(CLI::App& app, NodeChoice& choice, const char* otherwise);
// The chosen nodes' names; the first master when nothing was chosen.
std::vector<std::string> chosen_nodes(const cluster::Session& session, const NodeChoice& choice);

}  // namespace kiln::cli
