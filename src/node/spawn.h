// Starting programs: services, scripts, commands. Each gets a session of its own, so that signals reach it and all it starts.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "node/users.h"

namespace kiln::node {

using Environment = std::map<std::string, std::string>;

struct SpawnRequest {
  std::vector<std::string> argv;  // looked up in the environment's PATH
  Environment env;                // the whole environment
  std::string directory = "/";
  User user;  // ignored when the agent is not root
  // Borrowed descriptors; -1: /dev/null.
  int standard_input = -1;
  int standard_output = -1;
  int standard_error = -1;
  bool terminal = false;  // standard_input is a terminal, and becomes the session's
};

// The new process's id. Error when there can be no process at all; what keeps it from running the program (no such file, folder or right)
// is said on its standard error, and its exit code is 127 or 126, as shells do: nobody has to wait here for an exec to succeed.
pid_t spawn(const SpawnRequest& request);

// PATH, HOME, USER … as a log-in would set them.
Environment login_environment(const User& user);
// "exit code 3", "killed by SIGKILL".
std::string describe_status(int status);
// "TERM", "SIGTERM", "15" → 15; 0 when it is none.
int signal_number(std::string_view name);

}  // namespace kiln::node
