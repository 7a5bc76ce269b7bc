// kiln submit: an application on a cluster.
#include <unistd.h>

#include "cli/command.h"
#include "cli/terminal.h"
#include "cluster/submit.h"

namespace kiln::cli {
namespace {

struct Options {
  std::string cluster, app, deploy_mode = "client", main_class, name;
  std::vector<std::string> py_files, jars, files, packages, conf, carry, env;
  std::string driver_memory, executor_memory;
  bool quick = false;
};

Response run(const Options& options) {
  cluster::SubmitRequest request;
  request.app = options.app;
  request.args = rest().trailing;
  request.carry = options.carry;
  request.quick = options.quick;
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) request.spark_options.insert(request.spark_options.end(), {name, value});
  };
  const auto add_all = [&](const char* name, const std::vector<std::string>& values) {
    for (const auto& value : values) add(name, value);
  };
  add("--class", options.main_class);
  add("--name", options.name);
  add("--driver-memory", options.driver_memory);
  add("--executor-memory", options.executor_memory);
  add_all("--py-files", options.py_files);
  add_all("--jars", options.jars);
  add_all("--files", options.files);
  add_all("--packages", options.packages);
  add_all("--conf", options.conf);
  std::string mode = options.deploy_mode;
  // spark-submit's own words, after `--`; its deploy mode is ours, whichever way it is written.
  for (std::size_t i = 0; i < rest().after_dashes.size(); ++i) {
    const std::string& word = rest().after_dashes[i];
    if (word == "--deploy-mode" && i + 1 < rest().after_dashes.size()) {
      mode = rest().after_dashes[++i];
    } else if (word.starts_with("--deploy-mode=")) {
      mode = word.substr(14);
    } else {
      request.spark_options.push_back(word);
    }
  }
  if (mode != "client" && mode != "cluster") {
    UsageError error(fmt::format("--deploy-mode {}: expected client or cluster", mode));
    error.set_hint("client: the driver runs on the master; cluster: on a worker");
    throw error;
  }
  request.on_worker = mode == "cluster";
  for (const auto& entry : options.env) {
    const auto equals = entry.find('=');
    if (equals == std::string::npos || equals == 0) fail_usage("--env {}: expected NAME=VALUE", entry);
    request.env[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  auto session = cluster::Session::open_running(options.cluster);
  if (!global_options().json) return Response{{}, "", cluster::submit(session, request, print_stream)};
  std::string output, errors;
  const int code = cluster::submit(session, request, [&](char type, std::string_view bytes) { (type == 'O' ? output : errors) += bytes; });
  return Response{{{"cluster", options.cluster}, {"exit_code", code}, {"output", output}, {"errors", errors}}, "", code};
}

const RegisterCommand command{
    {.name = "submit",
     .group = "Work",
     .summary = "run an application on a cluster",
     .description =
         "APP is a Python file, a JAR, or a folder with __main__.py or main.py; what is on this machine is carried to the cluster, "
         "together with\n"
         "the local files that --py-files, --jars, --files and --carry name. local:/path means a file that is on the nodes; hdfs:// and "
         "s3a:// work too.\n"
         "The driver's output streams back as it comes, and kiln exits with the application's own exit code. What follows APP is the\n"
         "application's; what follows -- is spark-submit's.\n\n"
         "The driver runs on the master (--deploy-mode client), or on a worker (cluster), for Python as for JARs.",
     .examples =
         {{"kiln submit demo job.py input.txt", "a Python file with an argument"},
          {"kiln submit demo --class org.example.Main app.jar -- --conf spark.sql.shuffle.partitions=8", "a JAR, and an option of Spark's"},
          {"kiln submit demo --quick --class org.apache.spark.examples.JavaSparkPi local:/opt/spark/examples/jars/spark-examples.jar 100",
           "an example that is on the image, with less compiling for a short job"},
          {"kiln submit demo --packages org.apache.spark:spark-avro_2.13:4.1.1 job.py", "with a package from Maven"}},
     .define =
         [](CLI::App& app) {
           auto options = std::make_shared<Options>();
           app.add_option("NAME", options->cluster, "the cluster")->required();
           app.add_option("APP", options->app, "application: file, folder, or URL")->required();
           app.add_option("--class", options->main_class, "the application's main class (JARs)")->type_name("CLASS");
           app.add_option("--deploy-mode", options->deploy_mode, "client: driver on the master (default); cluster: on a worker")
               ->type_name("MODE");
           app.add_flag("--quick", options->quick, "for jobs of seconds: JVMs that compile less and start sooner, and no web page");
           app.add_option("--name", options->name, "the application's name in the web UI")->type_name("TEXT");
           const auto list = [&](const char* name, std::vector<std::string>& values, const char* what, const char* type) {
             app.add_option(name, values, what)->type_name(type)->expected(1)->take_all();
           };
           list("--py-files", options->py_files, "Python files, zips or folders to import from, comma-separated", "FILES");
           list("--jars", options->jars, "JARs for driver and executors, comma-separated", "FILES");
           list("--files", options->files, "files for the executors' working folders", "FILES");
           list("--packages", options->packages, "Maven coordinates, comma-separated (needs a network)", "G:A:V");
           list("--conf", options->conf, "a Spark property; may be given again", "K=V");
           list("--carry", options->carry, "file or folder to put beside the application; may be given again", "PATH");
           list("--env", options->env, "a variable for the driver; may be given again", "K=V");
           app.add_option("--driver-memory", options->driver_memory, "heap of the driver")->type_name("SIZE");
           app.add_option("--executor-memory", options->executor_memory, "heap of each executor")->type_name("SIZE");
           return [options] { return run(*options); };
         },
     .words_before_rest = 2}};

}  // namespace
}  // namespace kiln::cli
