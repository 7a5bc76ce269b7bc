// kiln ssh: OpenSSH's client on a node of a cluster.
#include <unistd.h>

#include <cerrno>

#include "base/strings.h"
#include "cli/command.h"
#include "cluster/session.h"

namespace kiln::cli {
namespace {

struct Options {
  std::string cluster, node;
  bool print = false;
};

// Returns only when it cannot be started.
void become(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  fail("cannot start '{}': {}", words[0], errno_text(errno));
}

Response run(const Options& options) {
  auto session = cluster::Session::open_running(options.cluster);
  const std::string node = session.node(options.node.empty() ? session.masters().at(0) : options.node).name;
  const auto words = session.provider().ssh_command(options.cluster, node, rest().after_dashes);
  if (words.empty()) {
    Error error(fmt::format("the nodes of cluster '{}' have no SSH: they are on this machine", options.cluster));
    error.set_hint(fmt::format("`kiln shell {} --node {}` opens a shell there", options.cluster, node));
    throw error;
  }
  if (options.print || global_options().json) {
    std::string line;
    for (const auto& word : words) line += (line.empty() ? "" : " ") + shell_quote(word);
    return {{{"cluster", options.cluster}, {"node", node}, {"command", words}}, line, 0};
  }
  become(words);
  return {};
}

const RegisterCommand command{
    {.name = "ssh",
     .group = "Work",
     .summary = "log in to a cluster's node by SSH",
     .description =
         "As root, with the cluster's own key, by OpenSSH's client; the node's host key is checked. On the first master, or on NODE.\n"
         "`kiln shell`, `kiln exec` and `kiln cp` need no SSH on the node, and work wherever a cluster is.",
     .examples = {{"kiln ssh demo", "a shell on the first master"},
                  {"kiln ssh demo worker-2 -- uptime", ""},
                  {"kiln ssh demo --print", "the command line, for tools of one's own"}},
     .define = [](CLI::App& app) {
       auto options = std::make_shared<Options>();
       app.add_option("NAME", options->cluster, "the cluster; a command may follow after --")->required();
       app.add_option("NODE", options->node, "the node (default: the first master)");
       app.add_flag("--print", options->print, "only print the command line");
       return [options] { return run(*options); };
     }}};

}  // namespace
}  // namespace kiln::cli
