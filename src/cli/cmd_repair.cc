// kiln repair: what a cluster has lost, replaced.
#include "base/strings.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "cluster/repair.h"

namespace kiln::cli {
namespace {

Response run(const std::string& name, const std::vector<std::string>& given_up) {
  auto session = cluster::Session::open_running(name);
  const auto done = cluster::repair(session, given_up);
  Response response;
  response.json = {{"cluster", name}, {"masters", done.masters}, {"workers", done.workers}, {"seconds", done.seconds}};
  auto replaced = done.masters;
  replaced.insert(replaced.end(), done.workers.begin(), done.workers.end());
  if (replaced.empty()) {
    response.text = fmt::format("{} has lost nothing\n", name);
    return response;
  }
  response.text = fmt::format("{}: replaced {} in {}\n", name, join(replaced, ", "), human_duration(done.seconds));
  if (!done.masters.empty())
    response.text +=
        "what was on a lost master's disk is gone: applications that it had run, their event logs; workers find the new one by "
        "themselves\n";
  return response;
}

const RegisterCommand command{
    {.name = "repair",
     .group = "Clusters",
     .summary = "replace what a cluster has lost",
     .description = "Workers that are down or silent (`kiln status`), as `kiln resize` does, and masters whose machine is gone: on EC2, by "
                    "a new machine\n"
                    "with the same name and private address, which the other nodes find by themselves. Applications whose driver ran on a "
                    "lost master are\n"
                    "lost with it. A cluster that has lost nothing stays as it is.",
     .examples = {{"kiln repair demo", ""}, {"kiln repair demo --replace master-1", "though its machine runs: it does not answer"}},
     .define = [](CLI::App& app) {
       auto name = std::make_shared<std::string>();
       auto given_up = std::make_shared<std::vector<std::string>>();
       app.add_option("NAME", *name, "the cluster")->required();
       app.add_option("--replace", *given_up, "this master too, whose machine runs; may be given again")
           ->type_name("MASTER")
           ->expected(1)
           ->take_all();
       return [name, given_up] { return run(*name, *given_up); };
     }}};

}  // namespace
}  // namespace kiln::cli
