// kiln-node: the agent on every node. Turns a node document into running services; PID 1 in a container, a daemon in a virtual machine.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "node/agent.h"

namespace {

constexpr const char* kHelp =
    "usage: kiln-node run [--document FILE] [--root DIR]   turn a node document into running services\n"
    "       kiln-node check FILE                           tell whether FILE is a right node document\n"
    "       kiln-node version\n"
    "\n"
    "  --document FILE  the node document (default: /run/kiln/node.json)\n"
    "  --root DIR       keep all files below DIR (default: $KILN_NODE_ROOT, or /): several agents on one machine\n"
    "\n"
    "kiln-node is started by a node's container runtime or init system; people use kiln.\n";

int run(const std::vector<std::string>& words) {
  kiln::node::Paths paths;
  if (const char* root = std::getenv("KILN_NODE_ROOT"); root != nullptr && *root != '\0') paths.root = root;
  std::string document;
  for (std::size_t i = 0; i < words.size(); i += 2) {
    if (i + 1 == words.size() || (words[i] != "--document" && words[i] != "--root")) kiln::fail_usage("unknown option '{}'", words[i]);
    if (words[i] == "--document") {
      document = words[i + 1];
    } else {
      paths.root = words[i + 1];
    }
  }
  kiln::node::Loop loop;
  kiln::node::Agent agent(loop, paths, kiln::node::read_document(document.empty() ? paths.document().native() : document));
  agent.start();
  return loop.run();
}

int dispatch(const std::vector<std::string>& words) {
  const std::string command = words.empty() ? "" : words[0];
  if (command == "--help" || command == "-h" || command == "help") {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (command == "version" || command == "--version") {
    std::puts("kiln-node " KILN_VERSION);
    return 0;
  }
  if (command == "check" && words.size() == 2) {
    try {
      kiln::node::read_document(words[1]);
    } catch (const kiln::Error& error) {
      std::fprintf(stderr, "kiln-node: %s\n", error.what());
      return 2;
    }
    return 0;
  }
  if (command == "run") return run({words.begin() + 1, words.end()});
  std::fputs(kHelp, stderr);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return dispatch({argv + 1, argv + argc});
  } catch (const kiln::Error& error) {
    std::fprintf(stderr, "kiln-node: %s\n", error.what());
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kiln-node: %s\n", error.what());
    return 1;
  }
}
