#include "container/userns.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/process.h"
#include "base/strings.h"

namespace kiln::container {

namespace {

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// newuidmap PID  inside outside count …
std::vector<std::string> mapping_command(const std::string& program, std::uint32_t self, const std::vector<IdRange>& ranges) {
  std::vector<std::string> argv = {program, std::to_string(::getpid()), "0", std::to_string(self), "1"};
  std::uint32_t inside = 1;
  for (const auto& range : ranges) {
    for (const std::uint32_t value : {inside, range.first, range.count}) argv.push_back(std::to_string(value));
    inside += range.count;
  }
  return argv;
}

pid_t spawn_mapper(const std::vector<std::string>& argv, const std::string& program, int errors) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  std::vector<char*> arguments;
  for (const auto& word : argv) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::dup2(errors, 1);
  ::dup2(errors, 2);
  ::execv(program.c_str(), arguments.data());
  ::_exit(127);
}

bool succeeded(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return false;
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

std::string user_name() {
  const passwd* entry = ::getpwuid(::getuid());
  return entry != nullptr ? entry->pw_name : std::to_string(::getuid());
}

std::vector<IdRange> parse_subordinate_ids(const std::string& text, const std::string& user, std::uint32_t user_number) {
  std::vector<IdRange> ranges;
  for (const auto& line : split(text, '\n')) {
    const auto parts = split(trim(line), ':');
    if (parts.size() != 3 || (parts[0] != user && parts[0] != std::to_string(user_number))) continue;
    const auto first = number(parts[1]), count = number(parts[2]);
    if (first && count && *count > 0) ranges.push_back({*first, *count});
  }
  return ranges;
}

std::vector<IdRange> subordinate_ids(const std::string& file) {
  return parse_subordinate_ids(read_file_if_there(file).value_or(""), user_name(), ::getuid());
}

std::uint64_t count_of(const std::vector<IdRange>& ranges) {
  std::uint64_t count = 0;
  for (const auto& range : ranges) count += range.count;
  return count;
}

void enter_user_namespace() {
  const auto uids = subordinate_ids("/etc/subuid"), gids = subordinate_ids("/etc/subgid");
  if (count_of(uids) < kFewestIds || count_of(gids) < kFewestIds) {
    Error error(fmt::format("user '{}' has {} subordinate user ids and {} group ids, {} are needed", user_name(), count_of(uids),
                            count_of(gids), kFewestIds));
    error.set_hint(fmt::format("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {}", user_name()));
    throw error;
  }
  const auto uid_program = find_program("newuidmap"), gid_program = find_program("newgidmap");
  if (!uid_program || !gid_program) {
    Error error("newuidmap is not installed: an ordinary user's containers need it");
    error.set_hint("sudo apt-get install uidmap");
    throw error;
  }
  const auto uid_command = mapping_command("newuidmap", ::getuid(), uids), gid_command = mapping_command("newgidmap", ::getgid(), gids);

  // The mappings are written from outside the namespace by programs that are set-uid root: a helper that stays outside starts them
  // once this process is inside.
  int go[2], errors[2];
  if (::pipe2(go, O_CLOEXEC) != 0 || ::pipe2(errors, O_CLOEXEC) != 0) fail("cannot make a pipe: {}", errno_text(errno));
  Fd go_read(go[0]), go_write(go[1]), errors_read(errors[0]), errors_write(errors[1]);
  const pid_t helper = ::fork();
  if (helper < 0) fail("cannot start a process: {}", errno_text(errno));
  if (helper == 0) {
    char byte;
    go_write.reset();
    if (::read(go_read.get(), &byte, 1) != 1) ::_exit(1);
    const pid_t first = spawn_mapper(uid_command, *uid_program, errors_write.get());
    const pid_t second = spawn_mapper(gid_command, *gid_program, errors_write.get());
    const bool first_ok = succeeded(first), second_ok = succeeded(second);
    ::_exit(first_ok && second_ok ? 0 : 1);
  }
  errors_write.reset();
  go_read.reset();
  if (::unshare(CLONE_NEWUSER) != 0) {
    const int reason = errno;
    go_write.reset();
    succeeded(helper);
    Error error(fmt::format("cannot make a user namespace: {}", errno_text(reason)));
    error.set_hint("`kiln doctor` says what forbids it and how to allow it");
    throw error;
  }
  if (::write(go_write.get(), "g", 1) != 1) fail("cannot map user ids: {}", errno_text(errno));
  std::string complaint;
  char bytes[512];
  for (ssize_t count; (count = ::read(errors_read.get(), bytes, sizeof bytes)) > 0;)
    complaint.append(bytes, static_cast<std::size_t>(count));
  if (!succeeded(helper)) {
    Error error(fmt::format("cannot map user ids: {}", complaint.empty() ? "newuidmap failed" : std::string(trim(complaint))));
    error.set_hint("`kiln doctor` says what is missing");
    throw error;
  }
  // The groups of the user's session mean nothing inside.
  if (::setgroups(0, nullptr) != 0 || ::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0) {
    fail("cannot become root of the user namespace: {}", errno_text(errno));
  }
}

void enter_own_user_namespace() {
  int go[2];
  if (::pipe2(go, O_CLOEXEC) != 0) fail("cannot make a pipe: {}", errno_text(errno));
  Fd go_read(go[0]), go_write(go[1]);
  const std::string folder = "/proc/" + std::to_string(::getpid());
  // Who is outside may map all ids. In two parts: a single one of everything looks like no namespace at all to runc (and to us).
  const pid_t helper = ::fork();
  if (helper < 0) fail("cannot start a process: {}", errno_text(errno));
  if (helper == 0) {
    char byte;
    go_write.reset();
    if (::read(go_read.get(), &byte, 1) != 1) ::_exit(1);
    constexpr std::string_view kAll = "0 0 65536\n65536 65536 4294901759\n";
    for (const char* map : {"/uid_map", "/gid_map"}) {
      const Fd file(::open((folder + map).c_str(), O_WRONLY | O_CLOEXEC));
      if (!file || ::write(file.get(), kAll.data(), kAll.size()) != static_cast<ssize_t>(kAll.size())) ::_exit(1);
    }
    ::_exit(0);
  }
  go_read.reset();
  const bool entered = ::unshare(CLONE_NEWUSER) == 0;
  const int reason = errno;
  if (!entered || ::write(go_write.get(), "g", 1) != 1) go_write.reset();
  if (!succeeded(helper) || !entered) {
    Error error(fmt::format("cannot make a user namespace: {}", entered ? "its ids cannot be mapped" : errno_text(reason)));
    error.set_hint("`kiln doctor` says what forbids it and how to allow it");
    throw error;
  }
}

}  // namespace kiln::container
