// Commands on a cluster's nodes, through its agents: one node with standard input and perhaps a terminal, or many side by side.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/session.h"

namespace kiln::cluster {

struct ExecRequest {
  std::vector<std::string> argv;
  std::string user = "root";
  std::string directory = "/";
  std::map<std::string, std::string> env;
  bool terminal = false;  // a pseudo-terminal of this terminal's size; keys go there unchanged
};

// Bytes of output as they come: 'O' standard output, 'E' standard error.
using ExecOutput = std::function<void(char type, std::string_view bytes)>;

// Runs it on one node; feeds it what `stdin_fd` gives (negative: nothing). Returns the command's exit code. On Ctrl-C the command gets
// SIGINT and Interrupted is thrown once it has ended.
int exec_on_node(Session& session, const std::string& node, const ExecRequest& request, int stdin_fd, const ExecOutput& output);

// Pumps a request that was sent already (a module's script, logs) until its {"exit": code}.
int pump(Channel& channel, int stdin_fd, bool terminal, const ExecOutput& output);

// Runs it on several nodes side by side. `output` gets whole lines, one at a time. Returns each node's exit code, in order.
std::vector<int> exec_on_nodes(Session& session, const std::vector<std::string>& nodes, const ExecRequest& request,
                               const std::function<void(const std::string& node, char type, std::string_view line)>& output);

// Files and folders from here to a folder of the node (made when absent), owned by `user`. Error when a path is not there.
void upload(Session& session, const std::string& node, const std::vector<std::filesystem::path>& paths, const std::string& folder,
            const std::string& user);
// A file or folder of the node to a folder here.
void download(Session& session, const std::string& node, const std::string& path, const std::filesystem::path& folder);

}  // namespace kiln::cluster
