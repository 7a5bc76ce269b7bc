#include "cli/node_choice.h"

namespace kiln::cli {

void add_node_choice(CLI::App& app, NodeChoice& choice, const char* otherwise) {
  app.add_option("--node,-n", choice.nodes, fmt::format("this node; may be given again ({})", otherwise))
      ->type_name("NODE")
      ->expected(1)
      ->take_all();
  app.add_option("--role", choice.role, "the nodes of a role: master or worker")->type_name("ROLE");
  app.add_flag("--all", choice.all, "every node");
}

std::vector<std::string> chosen_nodes(const cluster::Session& session, const NodeChoice& choice) {
  if (static_cast<int>(choice.all) + static_cast<int>(!choice.role.empty()) + static_cast<int>(!choice.nodes.empty()) > 1) {
    fail_usage("--all, --role and --node exclude each other");
  }
  std::vector<std::string> names;
  for (const auto& name : choice.nodes) names.push_back(session.node(name).name);
  if (!choice.role.empty()) {
    if (choice.role != "master" && choice.role != "worker") fail_usage("--role {}: expected master or worker", choice.role);
    names = choice.role == "master" ? session.masters() : session.workers();
  }
  if (choice.all) {
    for (const auto& node : session.cluster().nodes) names.push_back(node.name);
  }
  if (names.empty()) names.push_back(session.masters().at(0));
  return names;
}

}  // namespace kiln::cli
