#include "base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <deque>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/strings.h"

extern char** environ;

namespace kiln {

namespace {

struct Pipe {
  Fd read, write;
};

Pipe make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail("cannot make a pipe: {}", errno_text(errno));
  return {Fd(ends[0]), Fd(ends[1])};
}

std::vector<std::string> environment_for(const ProcessOptions& options) {
  std::map<std::string, std::string> merged;
  if (options.environment) {
    merged = *options.environment;
  } else {
    for (char** entry = environ; *entry != nullptr; ++entry) {
      const std::string_view text(*entry);
      const std::size_t equals = text.find('=');
      if (equals != std::string_view::npos) merged.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
  }
  for (const auto& [name, value] : options.extra_environment) merged[name] = value;
  std::vector<std::string> entries;
  for (const auto& [name, value] : merged) entries.push_back(name + "=" + value);
  return entries;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (auto& text : strings) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// Cuts what has arrived into lines for `on_line`.
class LineSplitter {
 public:
  explicit LineSplitter(const std::function<void(std::string_view)>& on_line) : on_line_(on_line) {}
  void feed(std::string_view bytes) {
    if (!on_line_) return;
    pending_ += bytes;
    std::size_t start = 0;
    for (std::size_t end; (end = pending_.find('\n', start)) != std::string::npos; start = end + 1) {
      on_line_(std::string_view(pending_).substr(start, end - start));
    }
    pending_.erase(0, start);
  }
  void finish() {
    if (on_line_ && !pending_.empty()) on_line_(pending_);
    pending_.clear();
  }

 private:
  const std::function<void(std::string_view)>& on_line_;
  std::string pending_;
};

std::string last_lines(std::string_view text, std::size_t count) {
  text = trim(text);
  std::size_t start = text.size();
  for (std::size_t line = 0; line < count && start != std::string_view::npos && start > 0; ++line) start = text.rfind('\n', start - 1);
  return std::string(start == std::string_view::npos || start == text.size() ? text : text.substr(start + 1));
}

}  // namespace

std::optional<std::string> find_program(std::string_view program) {
  if (program.find('/') != std::string_view::npos) return std::string(program);
  const char* path = std::getenv("PATH");
  // An ordinary user's PATH often lacks the sbin folders, where ip, nft and runc are.
  const std::string folders = std::string(path == nullptr ? "/usr/bin:/bin" : path) + ":/usr/sbin:/sbin:/usr/local/sbin";
  for (const auto& folder : split(folders, ':')) {
    std::string candidate = folder + "/" + std::string(program);
    if (!folder.empty() && ::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return std::nullopt;
}

ProcessResult run(const std::vector<std::string>& argv, const ProcessOptions& options) {
  throw_if_interrupted();
  const auto program = find_program(argv.at(0));
  if (!program) fail("cannot start '{}': it is not installed", argv[0]);

  std::vector<std::string> arguments = argv;
  std::vector<std::string> entries = environment_for(options);
  const std::vector<char*> argument_pointers = pointers(arguments), entry_pointers = pointers(entries);
  Pipe input = make_pipe(), output = make_pipe(), errors = make_pipe(), started = make_pipe();
  const pid_t parent = ::getpid();

  const pid_t child = ::fork();
  if (child < 0) fail("cannot start '{}': {}", argv[0], errno_text(errno));
  if (child == 0) {
    // Only async-signal-safe calls until exec: other threads may have held any lock at the fork.
    if (options.die_with_parent) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(127);
    }
    ::setpgid(0, 0);  // Ctrl-C reaches kiln, which decides what it means for its children
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    ::dup2(options.stdin_fd >= 0 ? options.stdin_fd : input.read.get(), 0);
    ::dup2(options.stdout_fd >= 0 ? options.stdout_fd : output.write.get(), 1);
    ::dup2(errors.write.get(), 2);
    for (const int fd : options.keep_fds) ::fcntl(fd, F_SETFD, 0);
    if (options.directory.empty() || ::chdir(options.directory.c_str()) == 0) {
      ::execve(program->c_str(), argument_pointers.data(), entry_pointers.data());
    }
    const int error = errno;
    [[maybe_unused]] const ssize_t ignored = ::write(started.write.get(), &error, sizeof error);
    ::_exit(127);
  }
  input.read.reset();
  output.write.reset();
  errors.write.reset();
  started.write.reset();
  int exec_error = 0;
  if (::read(started.read.get(), &exec_error, sizeof exec_error) == sizeof exec_error) {
    ::waitpid(child, nullptr, 0);
    fail("cannot start '{}': {}", argv[0], errno_text(exec_error));
  }

  ProcessResult result;
  LineSplitter output_lines(options.on_line), error_lines(options.on_line);
  std::string_view to_feed = options.standard_input;
  if (to_feed.empty() || options.stdin_fd >= 0) input.write.reset();
  if (input.write) ::fcntl(input.write.get(), F_SETFL, O_NONBLOCK);
  const auto deadline = options.timeout ? std::optional(std::chrono::steady_clock::now() + *options.timeout) : std::nullopt;
  const auto end_child = [&] {
    ::kill(-child, SIGKILL);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  };

  while (output.read || errors.read) {
    pollfd polled[] = {
        {output.read.get(), POLLIN, 0}, {errors.read.get(), POLLIN, 0}, {input.write.get(), POLLOUT, 0}, {interrupt_fd(), POLLIN, 0}};
    int wait_ms = -1;
    if (deadline) {
      wait_ms = static_cast<int>(std::max<std::int64_t>(
          0, std::chrono::duration_cast<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now()).count()));
    }
    const int ready = ::poll(polled, 4, wait_ms);
    if (interrupted()) {
      end_child();
      throw Interrupted();
    }
    if (ready == 0) {
      end_child();
      throw TimedOut(fmt::format("'{}' did not end within {} s", join(argv, " "), options.timeout->count() / 1000.0));
    }
    char buffer[65536];
    const auto drain = [&](Fd& from, short events, std::string& into, LineSplitter& lines) {
      if (!from || (events & (POLLIN | POLLHUP | POLLERR)) == 0) return;
      const ssize_t count = ::read(from.get(), buffer, sizeof buffer);
      if (count < 0 && errno == EINTR) return;
      if (count <= 0) {
        lines.finish();
        from.reset();
        return;
      }
      into.append(buffer, static_cast<std::size_t>(count));
      lines.feed({buffer, static_cast<std::size_t>(count)});
    };
    drain(output.read, polled[0].revents, result.output, output_lines);
    drain(errors.read, polled[1].revents, result.error, error_lines);
    if (input.write && (polled[2].revents & (POLLOUT | POLLERR | POLLHUP)) != 0) {
      const ssize_t count = ::write(input.write.get(), to_feed.data(), to_feed.size());
      if (count > 0) to_feed.remove_prefix(static_cast<std::size_t>(count));
      if (to_feed.empty() || (count < 0 && errno != EAGAIN && errno != EINTR)) input.write.reset();
    }
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    if (interrupted()) {
      end_child();
      throw Interrupted();
    }
  }
  result.exit_code = exit_code_of(status);
  return result;
}

int wait_for_child(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return 0;
  }
  return status;
}

int exit_code_of(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

ProcessResult run_checked(const std::vector<std::string>& argv, const ProcessOptions& options) {
  ProcessResult result = run(argv, options);
  if (result.ok()) return result;
  const std::string tail = last_lines(result.error.empty() ? result.output : result.error, 20);
  std::vector<std::string> quoted;
  for (const auto& word : argv) quoted.push_back(shell_quote(word));
  fail("`{}` ended with exit code {}{}{}", join(quoted, " "), result.exit_code, tail.empty() ? "" : ":\n", tail);
}

}  // namespace kiln
