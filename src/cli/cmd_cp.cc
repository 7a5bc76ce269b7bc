// kiln cp: files to and from nodes.
#include "base/parallel.h"
#include "cli/command.h"
#include "cli/node_choice.h"
#include "cluster/exec.h"

namespace kiln::cli {
namespace {

struct Options {
  std::string cluster, user = "root";
  std::vector<std::string> paths;
  NodeChoice choice;
};

// "worker-1:/tmp/x" or ":/tmp/x" → node and path; nothing for a path here. A path here with a colon is written ./a:b.
std::optional<std::pair<std::string, std::string>> as_remote(const std::string& text) {
  const auto colon = text.find(':'), slash = text.find('/');
  if (colon == std::string::npos || slash < colon) return std::nullopt;
  return std::pair(text.substr(0, colon), text.substr(colon + 1));
}

Response run(const Options& options) {
  if (options.paths.size() < 2) fail_usage("`kiln cp` needs a source and a destination");
  const std::vector<std::string> sources(options.paths.begin(), options.paths.end() - 1);
  const std::string& destination = options.paths.back();
  auto session = cluster::Session::open_running(options.cluster);

  if (const auto to = as_remote(destination)) {
    std::vector<std::filesystem::path> files;
    for (const auto& source : sources) {
      if (as_remote(source)) fail_usage("'{}' and '{}' are both on nodes; copy through this machine", source, destination);
      files.emplace_back(source);
    }
    const auto nodes = to->first.empty() ? chosen_nodes(session, options.choice) : std::vector{session.node(to->first).name};
    const std::string folder = to->second.empty() ? "/root" : to->second;
    if (!folder.starts_with("/")) fail_usage("'{}': a path on a node starts with '/'", folder);
    parallel_for(nodes.size(), 8, [&](std::size_t index) { cluster::upload(session, nodes[index], files, folder, options.user); });
    return {{{"copied", files.size()}, {"nodes", nodes}, {"to", folder}}, ""};
  }
  for (const auto& source : sources) {
    const auto from = as_remote(source);
    if (!from) {
      UsageError error(fmt::format("neither '{}' nor '{}' is on a node", source, destination));
      error.set_hint("a path on a node is written NODE:/path, or :/path for the nodes chosen by --node, --role, --all");
      throw error;
    }
    const auto nodes = from->first.empty() ? chosen_nodes(session, options.choice) : std::vector{session.node(from->first).name};
    if (nodes.size() > 1) fail_usage("'{}' is on {} nodes; name one", source, nodes.size());
    cluster::download(session, nodes[0], from->second, destination);
  }
  return {{{"copied", sources.size()}, {"to", destination}}, ""};
}

const RegisterCommand command{
    {.name = "cp",
     .group = "Work",
     .summary = "copy files and folders to nodes, or from one",
     .description =
         "A path on a node is written NODE:/path; :/path means the nodes chosen by --node, --role or --all. The destination is a folder;\n"
         "on a node it is made when it is not there.",
     .examples = {{"kiln cp demo data.csv :/data --all", "to every node"},
                  {"kiln cp demo worker-1:/var/log/kiln .", "a folder of a node to here"}},
     .define = [](CLI::App& app) {
       auto options = std::make_shared<Options>();
       app.add_option("NAME", options->cluster, "the cluster")->required();
       app.add_option("PATH", options->paths, "what to copy, and as the last one where to")->required()->expected(1, 100000);
       add_node_choice(app, options->choice, "default: the first master");
       app.add_option("-u,--user", options->user, "who owns the files on the node (default: root)")->type_name("USER");
       return [options] { return run(*options); };
     }}};

}  // namespace
}  // namespace kiln::cli
