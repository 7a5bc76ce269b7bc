// kiln status: one cluster, its nodes and services.
#include "base/activity.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "cluster/session.h"

namespace kiln::cli {
namespace {

// What the nodes' agents say, or nothing when the cluster does not run.
std::optional<Json> ask_agents(cluster::Session& session) {
  if (session.cluster().state != provider::State::kRunning) return std::nullopt;
  try {
    return session.ask({{"do", "status"}});
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& error) {
    say(fmt::format("no master's agent answers: {}", error.message()));
    return std::nullopt;
  }
}

Response run(const std::string& name) {
  auto session = cluster::Session::open(name);
  const auto agents = ask_agents(session);
  const auto& cluster = session.cluster();
  const auto added = cluster.notes.value("added", std::vector<std::string>());  // modules that the image lacks
  Response response;
  response.json = {{"name", cluster.name},
                   {"provider", cluster.provider},
                   {"state", provider::state_name(cluster.state)},
                   {"image", cluster.image},
                   {"added", added},
                   {"created", cluster.created},
                   {"nodes", Json::array()}};
  response.text = fmt::format("{}: {} on {}, image {}{}, {} old\n\n", cluster.name, provider::state_name(cluster.state), cluster.provider,
                              cluster.image, added.empty() ? "" : " with " + join(added, ", "),
                              human_duration(now_in_seconds() - static_cast<double>(cluster.created)));
  std::vector<std::vector<std::string>> rows;
  bool healthy = true;
  for (const auto& node : cluster.nodes) {
    Json entry = {
        {"name", node.name}, {"role", node.role}, {"address", node.address}, {"running", node.running}, {"services", Json::array()}};
    std::string state = node.running ? "up" : cluster.state == provider::State::kStopped ? "stopped" : "down";
    if (agents) {
      for (const auto& told : agents->value("nodes", Json::array())) {
        if (told.value("name", "") != node.name) continue;
        entry["connected"] = told.value("connected", false);
        entry["services"] = told.value("services", Json::array());
        if (node.running && !told.value("connected", false)) state = "silent";
        if (state == "up" && told.contains("leaving")) {
          state = "leaving";
          entry["leaving"] = told["leaving"];
        }
      }
    }
    entry["state"] = state;
    healthy = healthy && (state == "up" || cluster.state == provider::State::kStopped);
    bool first = true;
    for (const auto& service : entry["services"]) {
      const std::string service_state = state == "up" || state == "leaving" ? service.value("state", "") : "unknown";
      if (service_state == "off") continue;
      const std::string restarts = service.value("restarts", 0) > 0 ? fmt::format("restarted {} times", service.value("restarts", 0)) : "";
      rows.push_back(
          {first ? node.name : "", first ? node.address : "", first ? state : "", service.value("name", ""), service_state, restarts});
      first = false;
    }
    if (first) rows.push_back({node.name, node.address, state, "", "", ""});
    response.json["nodes"].push_back(std::move(entry));
  }
  response.json["healthy"] = healthy && cluster.state == provider::State::kRunning;
  response.text += format_table({"node", "address", "state", "service", "state", ""}, rows);
  return response;
}

const RegisterCommand command{
    {.name = "status",
     .group = "Clusters",
     .summary = "show a cluster's nodes and services",
     .description = "A node is up (it runs and its agent answers), silent (it runs, its agent does not answer), leaving (it is up "
                    "and drained, the cloud takes its machine back), down, or stopped.",
     .examples = {{"kiln status demo", ""}},
     .define = [](CLI::App& app) {
       auto name = std::make_shared<std::string>();
       app.add_option("NAME", *name, "the cluster")->required();
       return [name] { return run(*name); };
     }}};

}  // namespace
}  // namespace kiln::cli
