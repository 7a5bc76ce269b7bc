#include "provider/local/way_out.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>

#include <cerrno>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "provider/local/record.h"

namespace kiln::provider::local {

namespace {

constexpr const char* kDevice = "tap0";

}  // namespace

bool host_has_way_out() {
  return has_default_route(read_file_if_there("/proc/net/route").value_or("")) && find_program("slirp4netns") && find_program("nft") &&
         ::access("/dev/net/tun", R_OK | W_OK) == 0;
}

void WayOut::prepare() {
  const auto slirp = find_program("slirp4netns"), nft = find_program("nft");
  int ends[2];
  if (!slirp || !nft || ::pipe2(ends, O_CLOEXEC) != 0) fail("cannot start slirp4netns: {}", errno_text(errno));
  const std::string rules = fmt::format(
      "table ip kiln {{\nchain out {{\ntype nat hook postrouting priority srcnat;\noifname \"{}\" masquerade\n}}\n}}\n", kDevice);
  const Fd wait(ends[0]);
  go_ = Fd(ends[1]);
  const pid_t helper = ::fork();
  if (helper < 0) fail("cannot start slirp4netns: {}", errno_text(errno));
  if (helper == 0) {
    go_.reset();
    char byte;
    if (::read(wait.get(), &byte, 1) != 1) ::_exit(0);
    // The rules before the device: a packet that left without them would be lost, and TCP asks again only after a second.
    // Process 1 is the keeper.
    const pid_t inside = ::fork();
    if (inside == 0) {
      const Fd keeper(::open("/proc/1/ns/net", O_RDONLY | O_CLOEXEC));
      if (::setns(keeper.get(), CLONE_NEWNET) == 0) ::execl(nft->c_str(), "nft", rules.c_str(), static_cast<char*>(nullptr));
      ::_exit(127);
    }
    int status = 0;
    if (inside < 0 || ::waitpid(inside, &status, 0) < 0 || status != 0) ::_exit(1);  // nft's complaint is in the keeper's log
    // The host's loopback is not for nodes: what listens there trusts who connects. 65520: the longest packet that libslirp takes.
    ::execl(slirp->c_str(), "slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", "--netns-type=path", "/proc/1/ns/net",
            kDevice, static_cast<char*>(nullptr));
    ::_exit(127);
  }
}

void WayOut::open() {
  if (!go_) return;
  [[maybe_unused]] const ssize_t ignored = ::write(go_.get(), "g", 1);
  go_.reset();
}

}  // namespace kiln::provider::local
