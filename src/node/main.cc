// kiln-node: the agent on every node. Turns a node document into running services; PID 1 in a container, a daemon in a virtual machine.
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "node/agent.h"
#include "node/document_source.h"
#include "node/readiness.h"

namespace {

constexpr const char* kHelp =
    "usage: kiln-node run [--document FILE | --metadata[=URL]] [--wait SECONDS] [--root DIR]\n"
    "                                                  turn a node document into running services\n"
    "       kiln-node appliance [--help | options | COMMAND …]\n"
    "                                                  run what environment variables switch on: a container by itself\n"
    "       kiln-node check FILE                       tell whether FILE is a right node document\n"
    "       kiln-node version\n"
    "\n"
    "  --document FILE   the node document (default: /run/kiln/node.json)\n"
    "  --metadata[=URL]  take it from /etc/kiln/node.json, or else from the cloud's metadata service (default: http://169.254.169.254)\n"
    "  --wait SECONDS    give the metadata service up after so long (default: 120)\n"
    "  --root DIR        keep all files below DIR (default: $KILN_NODE_ROOT, or /): several agents on one machine\n"
    "\n"
    "kiln-node is started by a node's container runtime or init system; people use kiln.\n";

struct RunOptions {
  kiln::node::Paths paths;
  std::string document;
  bool metadata = false;
  kiln::node::MetadataSearch search;
};

RunOptions parse_run_options(const std::vector<std::string>& words) {
  RunOptions options;
  if (const char* root = std::getenv("KILN_NODE_ROOT"); root != nullptr && *root != '\0') options.paths.root = root;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const auto value = [&] {
      if (i + 1 == words.size()) kiln::fail_usage("{} needs a value", word);
      return words[++i];
    };
    if (word == "--document") {
      options.document = value();
    } else if (word == "--root") {
      options.paths.root = value();
    } else if (word == "--metadata" || word.starts_with("--metadata=")) {
      options.metadata = true;
      if (word != "--metadata") options.search.service = word.substr(word.find('=') + 1);
      while (options.search.service.ends_with('/')) options.search.service.pop_back();
      try {
        kiln::node::parse_http_target(options.search.service);
      } catch (const kiln::Error& error) {
        throw kiln::UsageError("--metadata: " + error.message());
      }
    } else if (word == "--wait") {
      const auto text = value();
      const bool number = !text.empty() && text.size() < 6 && text.find_first_not_of("0123456789") == std::string::npos;
      if (!number) kiln::fail_usage("--wait {}: expected seconds", text);
      options.search.limit = std::chrono::seconds(std::stoi(text));
    } else {
      kiln::fail_usage("unknown option '{}'", word);
    }
  }
  if (options.metadata && !options.document.empty()) kiln::fail_usage("--document and --metadata exclude each other");
  return options;
}

kiln::config::NodeDocument get_document(RunOptions& options) {
  if (!options.metadata) return kiln::node::read_document(options.document.empty() ? options.paths.document().native() : options.document);
  options.search.tell = [](const std::string& text) { std::fprintf(stderr, "kiln-node: %s\n", text.c_str()); };
  // Until the loop takes signals over: to the first process of a container a signal without a handler does nothing.
  for (const int number : {SIGTERM, SIGINT}) std::signal(number, [](int caught) { ::_exit(128 + caught); });
  return kiln::node::find_document(options.paths, options.search);
}

// By the init system, which ends everything in order; without one by the kernel. Returns when neither is allowed. The request is waited
// for: once this process has ended, systemd kills what it has started.
void power_off() {
  if (::getpid() == 1) return;
  const pid_t child = ::fork();
  if (child == 0) {
    ::execlp("systemctl", "systemctl", "--no-block", "poweroff", nullptr);
    ::_exit(127);
  }
  int status = 0;
  while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  ::sync();
  ::reboot(RB_POWER_OFF);
}

int run(const std::vector<std::string>& words) {
  auto options = parse_run_options(words);
  auto document = get_document(options);
  kiln::node::Loop loop;
  kiln::node::Agent agent(loop, options.paths, std::move(document));
  agent.start();
  if (options.metadata) agent.watch_for_notices(options.search.service);
  const int code = loop.run();
  if (agent.wants_power_off()) {
    power_off();
  } else if (agent.is_over()) {
    return kiln::config::kClusterIsOver;
  }
  return code;
}

// What a container of this image does by itself (node/appliance.h).
int run_appliance(const std::vector<std::string>& words) {
  RunOptions options = parse_run_options({});
  if (!words.empty() && !words[0].starts_with("-")) {
    std::vector<char*> argv;
    for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::execvp(argv[0], argv.data());
    const int problem = errno;
    std::fprintf(stderr, "kiln-node: cannot execute '%s': %s\n", argv[0], kiln::errno_text(problem).c_str());
    return problem == ENOENT ? 127 : 126;
  }
  const auto manifests = kiln::node::image_modules(options.paths);
  if (!words.empty() && (words[0] == "--help" || words[0] == "-h")) {
    std::fputs(kiln::node::appliance_help(manifests).c_str(), stdout);
    return 0;
  }
  kiln::node::Environment environment;
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string assignment = *each;
    if (const auto equals = assignment.find('='); equals != std::string::npos)
      environment[assignment.substr(0, equals)] = assignment.substr(equals + 1);
  }
  auto appliance = kiln::node::plan_appliance(manifests, words, environment);
  auto document = kiln::node::appliance_document(appliance, options.paths);
  kiln::node::Loop loop;
  kiln::node::Agent agent(loop, options.paths, std::move(document), std::move(appliance.standalone));
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
  if (command == "appliance") return run_appliance({words.begin() + 1, words.end()});
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
    if (!error.hint_text().empty()) std::fprintf(stderr, "kiln-node: hint: %s\n", error.hint_text().c_str());
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kiln-node: %s\n", error.what());
    return 1;
  }
}
