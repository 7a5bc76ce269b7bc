// The owner's side of a cell; cell_inside.cc is the other.
//
// How a cell ends with its owner: the first process (`kiln __cell`) watches the socket to the owner, which hangs up however the owner
// ends, and then kills the job's process, PID 1 of the PID namespace, and so all of it. Should the first process itself be killed, the
// job's process gets SIGKILL by PR_SET_PDEATHSIG. Rejected: PR_SET_PDEATHSIG towards the owner as well, since that fires at the end of
// the *thread* that started the cell.
#include "container/cell.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <mutex>

#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/process.h"
#include "container/cell_protocol.h"
#include "container/line_socket.h"

extern char** environ;

namespace kiln::container {

namespace {

struct Launched {
  pid_t first = 0;  // the process that we started and must wait for
  LineSocket socket;
};

Fd high_copy(int fd) {
  // Above every number that the cell's descriptors get, so that moving them into place overwrites none of them.
  Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 128));
  if (!copy) fail("cannot copy a descriptor: {}", errno_text(errno));
  return copy;
}

Launched launch(const std::string& job, const Json& arguments, CellOptions& options) {
  auto [ours, theirs] = make_socket_pair();
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);

  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  if (!options.log_file.empty()) {
    ::posix_spawn_file_actions_addopen(&actions, 1, options.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
  }
  std::vector<Fd> copies;
  for (const auto& fd : options.pass_fds) copies.push_back(high_copy(fd.get()));
  copies.push_back(high_copy(theirs.fd()));
  int number = 3;
  for (const auto& copy : copies) ::posix_spawn_file_actions_adddup2(&actions, copy.get(), number++);

  // A session of its own: Ctrl-C on the terminal reaches the owner alone, who then ends the cell.
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);

  std::string socket_number = std::to_string(number - 1), job_name = job, program = "kiln", command = kCellCommand;
  char* argv[] = {program.data(), command.data(), socket_number.data(), job_name.data(), nullptr};
  Launched launched;
  const int error = ::posix_spawn(&launched.first, "/proc/self/exe", &actions, &attributes, argv, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) fail("cannot start a cell for '{}': {}", job, errno_text(error));
  theirs.close();
  options.pass_fds.clear();
  launched.socket = std::move(ours);
  launched.socket.send({{"job", job},
                        {"arguments", arguments},
                        {"network", options.network_namespace},
                        {"architecture", options.architecture},
                        {"die", options.die_with_parent}});
  return launched;
}

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) return fmt::format("killed by signal {}", WTERMSIG(status));
  if (WEXITSTATUS(status) > 128) return fmt::format("killed by signal {}", WEXITSTATUS(status) - 128);
  return fmt::format("exit code {}", WEXITSTATUS(status));
}

// Follows the cell until it has said "done" or "ready"; its events go to our stream.
Json follow(const std::string& job, Launched& cell, pid_t* process) {
  for (;;) {
    std::optional<Json> message;
    try {
      message = cell.socket.receive({}, true);
    } catch (...) {
      cell.socket.shut_down();
      wait_for_child(cell.first);
      throw;
    }
    if (!message) {
      const bool by_user = interrupted();
      cell.socket.shut_down();  // the cell's first process ends it, and itself when all inside is gone
      const int status = wait_for_child(cell.first);
      if (by_user) throw Interrupted();
      fail("the cell for '{}' ended without an answer ({})", job, how_it_ended(status));
    }
    if (message->contains("event")) {
      publish(Event::from_json(message->at("event")));
    } else if (message->contains("pid")) {
      if (process != nullptr) *process = message->at("pid").get<pid_t>();
    } else if (message->contains("error")) {
      wait_for_child(cell.first);
      throw_error(message->at("error"));
    } else if (message->contains("done")) {
      wait_for_child(cell.first);
      if (process != nullptr) fail("the cell for '{}' ended before it was ready", job);
      return message->at("done");
    } else if (message->contains("ready")) {
      return message->at("ready");
    }
  }
}

}  // namespace

Json error_to_json(const std::exception& error) {
  const auto* ours = dynamic_cast<const Error*>(&error);
  if (ours == nullptr) return {{"message", error.what()}};
  return {{"message", ours->message()},
          {"context", ours->context()},
          {"hint", ours->hint_text()},
          {"exit_code", static_cast<int>(ours->exit_code())}};
}

void throw_error(const Json& json) {
  const auto rebuild = [&](auto error) {
    for (const auto& line : json.value("context", Json::array())) error.add_context(line.template get<std::string>());
    error.set_hint(json.value("hint", ""));
    throw error;
  };
  const auto code = static_cast<ExitCode>(json.value("exit_code", 1));
  if (code == ExitCode::kInterrupted) throw Interrupted();
  if (code == ExitCode::kUsage) rebuild(UsageError(json.value("message", "")));
  rebuild(Error(json.value("message", "")));
  throw;  // not reached: rebuild() throws
}

Json run_in_cell(const std::string& job, const Json& arguments, CellOptions options) {
  throw_if_interrupted();
  options.die_with_parent = true;
  Launched cell = launch(job, arguments, options);
  return follow(job, cell, nullptr);
}

StartedCell start_cell(const std::string& job, const Json& arguments, CellOptions options) {
  throw_if_interrupted();
  const bool lives_on = !options.die_with_parent;
  Launched cell = launch(job, arguments, options);
  StartedCell started;
  try {
    started.answer = follow(job, cell, &started.pid);
  } catch (...) {
    // A cell that is to live on has no first process that watches us: end it here.
    if (lives_on && started.pid > 0) ::kill(started.pid, SIGKILL);
    throw;
  }
  if (lives_on) {
    wait_for_child(cell.first);
  } else {
    // Kept open until we end: that is what the cell watches.
    static std::mutex lock;
    static std::vector<LineSocket> open_sockets;
    const std::lock_guard guard(lock);
    open_sockets.push_back(std::move(cell.socket));
  }
  return started;
}

bool is_rootless() {
  if (::geteuid() != 0) return true;
  // Root of a user namespace: inside an ordinary user's cell.
  static const bool inside = [] {
    unsigned long first = 0, outside = 0, count = 0;
    const std::string map = read_file_if_there("/proc/self/uid_map").value_or("");
    return std::sscanf(map.c_str(), "%lu %lu %lu", &first, &outside, &count) == 3 && (outside != 0 || count < 4294967295UL);
  }();
  return inside;
}

}  // namespace kiln::container
