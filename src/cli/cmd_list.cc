// kiln list: every cluster there is.
#include "base/activity.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "cluster/session.h"

namespace kiln::cli {
namespace {

Response run() {
  Response response;
  response.json = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const auto& cluster : cluster::list_clusters()) {
    std::size_t masters = 0, workers = 0, running = 0;
    for (const auto& node : cluster.nodes) {
      (node.role == "master" ? masters : workers) += 1;
      running += node.running ? 1 : 0;
    }
    const std::string state(provider::state_name(cluster.state));
    Json entry = {{"name", cluster.name},       {"provider", cluster.provider}, {"state", state},     {"image", cluster.image},
                  {"created", cluster.created}, {"masters", masters},           {"workers", workers}, {"running_nodes", running}};
    if (cluster.lease_until) entry["lease_until"] = *cluster.lease_until;
    response.json.push_back(std::move(entry));
    rows.push_back(
        {cluster.name, cluster.provider, state, cluster.image, fmt::format("{}+{}", masters, workers),
         human_duration(now_in_seconds() - static_cast<double>(cluster.created)),
         cluster.lease_until ? human_duration(std::max(0.0, static_cast<double>(*cluster.lease_until) - now_in_seconds())) : "-"});
  }
  response.text = rows.empty() ? "no clusters; `kiln launch NAME` makes one\n"
                               : format_table({"name", "on", "state", "image", "nodes", "age", "lease"}, rows);
  return response;
}

const RegisterCommand command{
    {.name = "list",
     .group = "Clusters",
     .summary = "list clusters, whatever state they are in",
     .description =
         "States: running, stopped, creating (its launch still goes on) and lost (its machines are gone though nobody destroyed it, for\n"
         "instance because this machine was restarted).",
     .examples = {{"kiln list --json", "for scripts"}},
     .define = [](CLI::App&) { return [] { return run(); }; }}};

}  // namespace
}  // namespace kiln::cli
