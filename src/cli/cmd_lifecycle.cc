// kiln stop, start, resize, destroy: what changes a whole cluster.
#include "base/activity.h"
#include "cli/command.h"
#include "cluster/drain.h"
#include "cluster/launch.h"

namespace kiln::cli {
namespace {

auto with_name(std::function<Response(const std::string&)> run) {
  return [run = std::move(run)](CLI::App& app) {
    auto name = std::make_shared<std::string>();
    app.add_option("NAME", *name, "the cluster")->required();
    return std::function<Response()>([name, run] { return run(*name); });
  };
}

const RegisterCommand stop_command{
    {.name = "stop",
     .group = "Clusters",
     .summary = "stop a cluster, keeping its nodes' disks",
     .description =
         "Services are stopped in order, workers first. `kiln start` brings the cluster back with everything that was on its disks.",
     .examples = {{"kiln stop demo", ""}},
     .define = with_name([](const std::string& name) {
       auto session = cluster::Session::open(name);
       const bool already = session.cluster().state == provider::State::kStopped;
       cluster::stop(session);
       return Response{{{"cluster", name}, {"state", "stopped"}, {"changed", !already}},
                       already ? fmt::format("{} was stopped already\n", name)
                               : fmt::format("{} is stopped; `kiln start {}` starts it again\n", name, name)};
     })}};

const RegisterCommand start_command{
    {.name = "start",
     .group = "Clusters",
     .summary = "start a stopped cluster again",
     .description = "Also a lost one (this machine was restarted): nodes, names and disks are the same.",
     .examples = {{"kiln start demo", ""}},
     .define = with_name([](const std::string& name) {
       auto session = cluster::Session::open(name);
       const bool already = session.cluster().state == provider::State::kRunning;
       const auto timeline = cluster::start(session);
       return Response{{{"cluster", name}, {"state", "running"}, {"changed", !already}, {"seconds", timeline.total_seconds}},
                       already ? fmt::format("{} runs already\n", name) : timeline.to_text() + fmt::format("{} is ready\n", name)};
     })}};

const RegisterCommand destroy_command{
    {.name = "destroy",
     .group = "Clusters",
     .summary = "remove a cluster and everything of it",
     .description = "Nodes, their disks, networks and addresses. A cluster that is not there is not an error: the aim is reached.",
     .examples = {{"kiln destroy demo", ""}},
     .define = with_name([](const std::string& name) {
       const bool there = cluster::destroy(name);
       return Response{{{"cluster", name}, {"changed", there}},
                       there ? fmt::format("{} is gone\n", name) : fmt::format("there was no cluster '{}'\n", name)};
     })}};

const RegisterCommand resize_command{
    {.name = "resize",
     .group = "Clusters",
     .summary = "give a cluster more or fewer workers",
     .description = "New workers are like the old ones and are waited for. The workers with the highest numbers leave first: they take no "
                    "new tasks, hand\n"
                    "on what they have stored, and go when their tasks have ended. Workers that are down or silent\n"
                    "(`kiln status`) are replaced.",
     .examples = {{"kiln resize demo --workers 4", ""}, {"kiln resize demo --workers 2 --drain 2h", "tasks may run for two hours more"}},
     .define = [](CLI::App& app) {
       auto name = std::make_shared<std::string>();
       auto workers = std::make_shared<int>(0);
       app.add_option("NAME", *name, "the cluster")->required();
       app.add_option("-w,--workers", *workers, "how many workers there shall be")->type_name("N")->required();
       auto drain = std::make_shared<std::string>();
       app.add_option("--drain", *drain, "how long tasks of leaving workers may go on (default: 10m); 0s: they are run again elsewhere")
           ->type_name("TIME");
       return [name, workers, drain] {
         if (*workers < 0 || *workers > 5000) fail_usage("--workers {}: a cluster has 0 to 5000 workers", *workers);
         auto session = cluster::Session::open_running(*name);
         const auto drain_time = drain->empty() ? cluster::kDrainTime : config::parse_duration("--drain", *drain);
         const auto timeline = cluster::resize(session, *workers, drain_time);
         return Response{{{"cluster", *name}, {"workers", *workers}, {"seconds", timeline.total_seconds}, {"timeline", timeline.to_json()}},
                         timeline.to_text() + fmt::format("{} has {} workers\n", *name, *workers)};
       };
     }}};

}  // namespace
}  // namespace kiln::cli
