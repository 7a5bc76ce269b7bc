// kiln exec and kiln shell: commands on nodes.
#include <unistd.h>

#include <algorithm>

#include "base/terminal.h"
#include "cli/command.h"
#include "cli/node_choice.h"
#include "cli/terminal.h"
#include "cluster/submit.h"

namespace kiln::cli {
namespace {

void write_bytes(char type, std::string_view bytes) {
  const int fd = type == 'O' ? STDOUT_FILENO : STDERR_FILENO;
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return;  // the reader went away; the command's exit code still counts
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

struct ExecOptions {
  std::string cluster, user = "root", directory = "/";
  NodeChoice choice;
};

Response run_exec(const ExecOptions& options) {
  if (rest().after_dashes.empty()) {
    UsageError error("`kiln exec` needs a command after --");
    error.set_hint(fmt::format("kiln exec {} --all -- uptime", options.cluster));
    throw error;
  }
  auto session = cluster::Session::open_running(options.cluster);
  const auto nodes = chosen_nodes(session, options.choice);
  cluster::ExecRequest request;
  request.argv = rest().after_dashes;
  request.user = options.user;
  request.directory = options.directory;
  if (nodes.size() == 1 && !global_options().json) {
    return {{}, "", cluster::exec_on_node(session, nodes[0], request, STDIN_FILENO, write_bytes)};
  }
  std::size_t width = 0;
  for (const auto& node : nodes) width = std::max(width, node.size());
  Json outputs = Json::object();
  const auto codes = cluster::exec_on_nodes(session, nodes, request, [&](const std::string& node, char type, std::string_view line) {
    if (global_options().json) {
      auto& text = outputs[node][type == 'O' ? "output" : "errors"];
      text = text.is_null() ? std::string(line) + "\n" : text.get<std::string>() + std::string(line) + "\n";
    } else {
      write_bytes(type, fmt::format("{:<{}} | {}\n", node, width, line));
    }
  });
  Response response;
  response.json = {{"cluster", options.cluster}, {"nodes", Json::array()}};
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    Json entry = outputs.value(nodes[i], Json::object());
    entry["node"] = nodes[i];
    entry["exit_code"] = codes[i];
    response.json["nodes"].push_back(std::move(entry));
    response.exit_code = std::max(response.exit_code, codes[i]);
  }
  response.json["exit_code"] = response.exit_code;
  return response;
}

const RegisterCommand exec_command{
    {.name = "exec",
     .group = "Work",
     .summary = "run a command on nodes",
     .description =
         "On one node standard input and output are the command's own; on several they run side by side and each line of output is marked\n"
         "with its node. The exit code is the command's, the worst one where there are several.",
     .examples = {{"kiln exec demo -- hostname", "on the first master"},
                  {"kiln exec demo --all -- df -h /", "on every node"},
                  {"kiln exec demo --role worker --user spark -- ls /var/lib/spark", "on all workers, as another user"}},
     .define = [](CLI::App& app) {
       auto options = std::make_shared<ExecOptions>();
       app.add_option("NAME", options->cluster, "the cluster; the command follows after --")->required();
       add_node_choice(app, options->choice, "default: the first master");
       app.add_option("-u,--user", options->user, "the user on the node (default: root)")->type_name("USER");
       app.add_option("--directory", options->directory, "working folder on the node (default: /)")->type_name("DIR");
       return [options] { return run_exec(*options); };
     }}};

struct ShellOptions {
  std::string cluster, program = "bash", node;
};

Response run_shell(const ShellOptions& options) {
  auto session = cluster::Session::open_running(options.cluster);
  cluster::ExecRequest request;
  if (options.program == "bash" || options.program == "sh") {
    request.argv = {"sh", "-c", "cd; command -v bash >/dev/null && exec bash -l; exec sh -l"};
  } else {
    const auto command = cluster::find_command(session, options.program);
    request.user = command.user;
    // At home: Spark's SQL shell keeps its catalogue in the working folder.
    request.argv = {"sh", "-c", "cd && exec " + command.exec + " \"$@\"", options.program};
  }
  if (options.program == "bash" || options.program == "sh") {
    if (!rest().after_dashes.empty()) request.argv = {"sh", "-c", "exec \"$@\"", "sh"};
  }
  request.argv.insert(request.argv.end(), rest().after_dashes.begin(), rest().after_dashes.end());
  // A script piped into the shell works too: then there is no terminal.
  request.terminal = has_terminal();
  const std::string node = options.node.empty() ? session.masters().at(0) : options.node;
  return {{}, "", cluster::exec_on_node(session, node, request, STDIN_FILENO, write_bytes)};
}

const RegisterCommand shell_command{
    {.name = "shell",
     .group = "Work",
     .summary = "open a shell on a cluster: bash, pyspark, spark-shell, spark-sql",
     .description = "On the first master, or on --node. With standard input from a file or pipe it runs what it reads there.",
     .examples = {{"kiln shell demo", "bash on the master"},
                  {"kiln shell demo pyspark", "PySpark, on the whole cluster"},
                  {"echo 'select 1' | kiln shell demo spark-sql", "without a terminal"}},
     .define = [](CLI::App& app) {
       auto options = std::make_shared<ShellOptions>();
       app.add_option("NAME", options->cluster, "the cluster")->required();
       app.add_option("PROGRAM", options->program, "bash (default), or a command that a module brings: pyspark, spark-shell, spark-sql");
       app.add_option("--node,-n", options->node, "this node (default: the first master)")->type_name("NODE");
       return [options] { return run_shell(*options); };
     }}};

}  // namespace
}  // namespace kiln::cli
