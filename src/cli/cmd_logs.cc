// kiln logs: what the services wrote.
#include <algorithm>
#include <mutex>

#include "base/parallel.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "cluster/exec.h"

namespace kiln::cli {
namespace {

struct Options {
  std::string cluster, node, service;
  int lines = 100;
  bool follow = false;
};

Response run(const Options& options) {
  auto session = cluster::Session::open_running(options.cluster);
  std::vector<std::string> nodes;
  if (options.node.empty()) {
    for (const auto& node : session.cluster().nodes) nodes.push_back(node.name);
  } else {
    nodes.push_back(session.node(options.node).name);
  }
  std::size_t width = 0;
  for (const auto& node : nodes) width = std::max(width, node.size());
  Json collected = Json::object();
  std::mutex lock;
  const auto read_one = [&](std::size_t index) {
    Json request = {{"do", "logs"}, {"node", nodes[index]}, {"lines", options.lines}, {"follow", options.follow}};
    if (!options.service.empty()) request["service"] = options.service;
    auto channel = session.request(request);
    std::string pending;
    cluster::pump(channel, -1, false, [&](char, std::string_view bytes) {
      pending += bytes;
      std::size_t start = 0;
      const std::lock_guard guard(lock);
      for (std::size_t end; (end = pending.find('\n', start)) != std::string::npos; start = end + 1) {
        const auto line = std::string_view(pending).substr(start, end - start);
        if (global_options().json) {
          collected[nodes[index]].push_back(line);
        } else {
          print_out(nodes.size() == 1 ? fmt::format("{}\n", line) : fmt::format("{:<{}} | {}\n", nodes[index], width, line));
        }
      }
      pending.erase(0, start);
    });
  };
  // Followed logs never end by themselves, so all must be read at once; else one node after the other reads better.
  parallel_for(nodes.size(), options.follow ? nodes.size() : 1, read_one);
  return {collected, ""};
}

const RegisterCommand command{
    {.name = "logs",
     .group = "Work",
     .summary = "show the logs of a cluster's services",
     .description = "Of every node and service, of one node, or of one service of it. `kiln status` lists the services.",
     .examples = {{"kiln logs demo master-1 spark.master", "one service"}, {"kiln logs demo -f", "everything, as it comes"}},
     .define = [](CLI::App& app) {
       auto options = std::make_shared<Options>();
       app.add_option("NAME", options->cluster, "the cluster")->required();
       app.add_option("NODE", options->node, "only this node");
       app.add_option("SERVICE", options->service, "only this service, such as spark.worker");
       app.add_option("--lines", options->lines, "how many of the last lines (default: 100)")
           ->type_name("N")
           ->check(CLI::Range(0, 1000000));
       app.add_flag("-f,--follow", options->follow, "go on as lines come, until Ctrl-C");
       return [options] { return run(*options); };
     }}};

}  // namespace
}  // namespace kiln::cli
