// kiln launch: a cluster, ready to work.
#include "cli/command.h"
#include "cli/launch_options.h"
#include "cluster/launch.h"

namespace kiln::cli {
namespace {

struct Options : ClusterOptions {
  bool keep = false, resume = false, no_timeline = false, dry_run = false;
};

Response show(const Json& preview) {
  Response response;
  response.json = preview;
  response.text =
      fmt::format("{} on {}: {}+{} of image '{}'\n", preview.at("cluster").get<std::string>(), preview.at("provider").get<std::string>(),
                  preview.at("masters").get<int>(), preview.at("workers").get<int>(), preview.at("image").get<std::string>());
  for (const auto& call : preview.at("calls"))
    response.text += fmt::format("{} {}\n", call.at("operation").get<std::string>(), call.at("parameters").dump(2));
  response.text += "nothing was made\n";
  return response;
}

Response run(const Options& options) {
  cluster::LaunchOptions launch;
  launch.spec = to_cluster_spec(options);
  launch.keep_failed = options.keep;
  launch.resume = options.resume;
  launch.bake.modules = config::SearchPath::for_modules({options.modules.begin(), options.modules.end()});
  if (options.dry_run) return show(cluster::preview(launch));
  const auto result = cluster::launch(launch);
  Response response;
  Json nodes = Json::array();
  for (const auto& node : result.cluster.nodes) nodes.push_back({{"name", node.name}, {"role", node.role}, {"address", node.address}});
  response.json = {
      {"cluster", result.cluster.name},           {"provider", result.cluster.provider},  {"image", result.cluster.image}, {"nodes", nodes},
      {"seconds", result.timeline.total_seconds}, {"timeline", result.timeline.to_json()}};
  if (!options.no_timeline) response.text = result.timeline.to_text();
  response.text += fmt::format(
      "{0} is ready: `kiln submit {0} APP`, `kiln shell {0} pyspark`, `kiln ui {0}`; `kiln destroy {0}` removes it\n", result.cluster.name);
  return response;
}

const RegisterCommand command{
    {.name = "launch",
     .group = "Clusters",
     .summary = "start a cluster and wait until it is ready",
     .description =
         "Ready means: every service of every node answers and every worker has registered. If anything fails, the error names node and\n"
         "service with the last lines of its log, and everything that was started is removed. An image that was not baked yet is baked "
         "first.\n"
         "A module that the image lacks (--with) and another value of a parameter that installing depends on (another version of Spark) "
         "are\n"
         "seen to at launch: once, kept for the next time; the image stays what it is.",
     .examples = {{"kiln launch demo", "one master, two workers on this machine"},
                  {"kiln launch big --workers 8 --node-memory 1g", "eight small workers"},
                  {"kiln launch demo --param spark.worker_cores=1", "a parameter of a module (`kiln module show spark` lists them)"},
                  {"kiln launch demo --param spark.version=3.5.8", "another Spark than the image's"},
                  {"kiln launch night -f cluster.yaml --ttl 8h", "from a file; gone after eight hours whatever happens"}},
     .define = [](CLI::App& app) {
       auto options = std::make_shared<Options>();
       add_cluster_options(app, *options);
       app.add_flag("--keep", options->keep, "leave what was started when the launch fails, to look at it");
       app.add_flag(
           "--resume", options->resume,
           "go on with a launch of that name whose kiln was killed, with the same options: machines that are there are taken over (EC2)");
       app.add_flag("--dry-run", options->dry_run, "only say what would be made");
       app.add_flag("--no-timeline", options->no_timeline, "print only the last line");
       return [options] { return run(*options); };
     }}};

}  // namespace
}  // namespace kiln::cli
