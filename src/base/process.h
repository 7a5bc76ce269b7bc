// Other programs: run one and wait, with its output captured, streamed or discarded.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace kiln {

// A program did not end within its time, and was killed.
class TimedOut : public Error {
 public:
  using Error::Error;
};

struct ProcessOptions {
  std::string standard_input;                                     // fed to the program
  std::optional<std::map<std::string, std::string>> environment;  // the whole environment; default: ours
  std::map<std::string, std::string> extra_environment;           // on top of it
  std::string directory;                                          // working directory; default: ours
  std::function<void(std::string_view line)> on_line;             // each line of standard output and error, as it comes
  std::optional<std::chrono::milliseconds> timeout;               // then SIGKILL and TimedOut
  bool die_with_parent = true;                                    // PR_SET_PDEATHSIG: no orphan when kiln is killed
  int stdout_fd = -1;                                             // where standard output goes instead of `output` (borrowed)
  int stdin_fd = -1;                                              // where standard input comes from instead (borrowed)
  std::vector<int> keep_fds;                                      // descriptors the program inherits under the same number
};

struct ProcessResult {
  int exit_code = 0;   // 128 + signal when killed by one, as shells say it
  std::string output;  // standard output
  std::string error;   // standard error
  bool ok() const { return exit_code == 0; }
};

// Runs `argv` (looked up in PATH) and waits. Throws Error when it cannot be started, Interrupted (after killing it) on Ctrl-C.
ProcessResult run(const std::vector<std::string>& argv, const ProcessOptions& options = {});

// As run(), and a non-zero exit is an Error with the command and the last lines of its standard error.
ProcessResult run_checked(const std::vector<std::string>& argv, const ProcessOptions& options = {});

// Waits for a child of ours: its wait status, or 0 when there is none. Safe in a forked child.
int wait_for_child(pid_t child);

// Of a wait status: 128 + signal for a program that one killed.
int exit_code_of(int status);

// Where PATH has `program`, or nothing.
std::optional<std::string> find_program(std::string_view program);

}  // namespace kiln
