#include "node/spawn.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "node/loop.h"

namespace kiln::node {

namespace {

struct SignalName {
  std::string_view name;
  int number;
};
constexpr SignalName kSignals[] = {{"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT},  {"KILL", SIGKILL}, {"TERM", SIGTERM},
                                   {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"ABRT", SIGABRT},  {"SEGV", SIGSEGV}, {"BUS", SIGBUS},
                                   {"FPE", SIGFPE},   {"ILL", SIGILL},   {"PIPE", SIGPIPE},  {"ALRM", SIGALRM}, {"CONT", SIGCONT},
                                   {"STOP", SIGSTOP}, {"TSTP", SIGTSTP}, {"WINCH", SIGWINCH}};

[[noreturn]] void give_up(const std::string& what, int exit_code) {
  const std::string text = "kiln-node: " + what + ": " + errno_text(errno) + "\n";
  if (::write(STDERR_FILENO, text.data(), text.size()) < 0) ::_exit(exit_code);
  ::_exit(exit_code);
}

[[noreturn]] void become(const SpawnRequest& request, char** argv, char** envp) {
  ::setsid();
  if (request.terminal) ::ioctl(request.standard_input, TIOCSCTTY, 0);
  // Above 2 first: one of the three given may itself be 0, 1 or 2.
  int fds[3] = {request.standard_input, request.standard_output, request.standard_error};
  for (int& fd : fds) {
    fd = fd >= 0 ? ::fcntl(fd, F_DUPFD, 3) : ::open("/dev/null", O_RDWR);
    if (fd >= 0 && fd < 3) fd = ::fcntl(fd, F_DUPFD, 3);
  }
  for (int i = 0; i < 3; ++i) ::dup2(fds[i], i);
  ::close_range(3, ~0U, 0);
  reset_signals_in_child();
  ::umask(022);
  if (::geteuid() == 0 && (request.user.uid != 0 || !request.user.groups.empty())) {
    // A user namespace with a single user refuses setgroups; there only root is possible, and root may stay what it is.
    if (::setgroups(request.user.groups.size(), request.user.groups.data()) < 0 && request.user.uid != 0)
      give_up("cannot set the groups of '" + request.user.name + "'", 126);
    if ((::setgid(request.user.gid) < 0 || ::setuid(request.user.uid) < 0) && request.user.uid != 0)
      give_up("cannot become '" + request.user.name + "'", 126);
  }
  if (::chdir(request.directory.c_str()) < 0) give_up("cannot enter '" + request.directory + "'", 126);
  const auto path = request.env.find("PATH");
  if (path != request.env.end()) ::setenv("PATH", path->second.c_str(), 1);
  ::execvpe(argv[0], argv, envp);
  give_up("cannot execute '" + request.argv[0] + "'", errno == ENOENT ? 127 : 126);
}

}  // namespace

pid_t spawn(const SpawnRequest& request) {
  if (request.argv.empty() || request.argv[0].empty()) throw Error("no command was given");
  std::vector<std::string> assignments;
  for (const auto& [name, value] : request.env) assignments.push_back(name + "=" + value);
  std::vector<char*> argv, envp;
  for (const auto& word : request.argv) argv.push_back(const_cast<char*>(word.c_str()));
  for (const auto& assignment : assignments) envp.push_back(const_cast<char*>(assignment.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) fail("cannot start a process: {}", errno_text(errno));
  if (pid == 0) become(request, argv.data(), envp.data());
  return pid;
}

Environment login_environment(const User& user) {
  return {{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
          {"HOME", user.home},
          {"USER", user.name},
          {"LOGNAME", user.name},
          {"SHELL", user.shell},
          // Images have no locales but this one; without any, Java and Python take file names for ASCII.
          {"LANG", "C.UTF-8"}};
}

std::string describe_status(int status) {
  if (!WIFSIGNALED(status)) return fmt::format("exit code {}", WEXITSTATUS(status));
  for (const auto& known : kSignals)
    if (known.number == WTERMSIG(status)) return fmt::format("killed by SIG{}", known.name);
  return fmt::format("killed by signal {}", WTERMSIG(status));
}

int signal_number(std::string_view name) {
  if (name.starts_with("SIG")) name.remove_prefix(3);
  for (const auto& known : kSignals)
    if (known.name == name) return known.number;
  int number = 0;
  for (const char c : name) {
    if (c < '0' || c > '9' || number > 64) return 0;
    number = number * 10 + (c - '0');
  }
  return number < 65 ? number : 0;
}

}  // namespace kiln::node
