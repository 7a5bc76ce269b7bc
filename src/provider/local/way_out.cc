#include "provider/local/way_out.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/types.h>

#include <cerrno>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "provider/local/record.h"

extern char** environ;

namespace kiln::provider::local {

namespace {

constexpr const char* kDevice = "tap0";

}  // namespace

bool host_has_way_out() {
  return has_default_route(read_file_if_there("/proc/net/route").value_or("")) && find_program("slirp4netns") && find_program("nft");
}

void WayOut::prepare() {
  const auto program = find_program("slirp4netns");
  int ends[2];
  if (!program || ::pipe2(ends, O_CLOEXEC) != 0) fail("cannot start slirp4netns: {}", errno_text(errno));
  const Fd wait(ends[0]);
  go_ = Fd(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) fail("cannot start slirp4netns: {}", errno_text(errno));
  if (child == 0) {
    go_.reset();
    char byte;
    if (::read(wait.get(), &byte, 1) != 1) ::_exit(0);
    // Process 1 is the keeper. The host's loopback is not for nodes: what listens there trusts who connects. 65520: the longest packet
    // that libslirp takes.
    ::execl(program->c_str(), "slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", "--netns-type=path", "/proc/1/ns/net", kDevice,
            static_cast<char*>(nullptr));
    ::_exit(127);
  }
}

void WayOut::open() {
  if (!go_) return;
  [[maybe_unused]] const ssize_t ignored = ::write(go_.get(), "g", 1);
  go_.reset();

  const std::string rules = fmt::format("table ip kiln {{ chain out {{ type nat hook postrouting priority srcnat; oifname \"{}\" masquerade; }} }}", kDevice);
  const auto program = find_program("nft");
  std::string name = "nft", text = rules;
  char* argv[] = {name.data(), text.data(), nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  pid_t child = 0;
  // Not waited for: the keeper's loop takes note of its end, and its complaints are in the keeper's log.
  ::posix_spawn(&child, program.value_or("/usr/sbin/nft").c_str(), &actions, nullptr, argv, environ);
  ::posix_spawn_file_actions_destroy(&actions);
}

}  // namespace kiln::provider::local
