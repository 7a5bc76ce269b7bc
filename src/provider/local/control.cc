#include "provider/local/control.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/interrupt.h"
#include "container/cell_protocol.h"

namespace kiln::provider::local {

namespace {

// A socket's address holds 108 bytes; the folder is therefore named by an open descriptor.
struct ControlAddress {
  explicit ControlAddress(const std::filesystem::path& path) : folder(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, fmt::format("/proc/self/fd/{}/control", folder.get()).c_str(), sizeof address.sun_path - 1);
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
  Fd folder;
  sockaddr_un address{};
};

}  // namespace

Fd listen_for_control(const std::filesystem::path& folder) {
  const ControlAddress address(folder);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ::unlink((folder / "control").c_str());
  const mode_t before = ::umask(0177);
  const bool bound = socket && ::bind(socket.get(), address.get(), sizeof address.address) == 0;
  const int reason = errno;
  ::umask(before);
  if (!bound || ::listen(socket.get(), 64) != 0)
    fail("cannot listen at '{}': {}", (folder / "control").native(), errno_text(bound ? errno : reason));
  return socket;
}

std::optional<container::LineSocket> connect_control(const std::filesystem::path& folder) {
  const ControlAddress address(folder);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!address.folder || !socket || ::connect(socket.get(), address.get(), sizeof address.address) != 0) return std::nullopt;
  return container::LineSocket(std::move(socket));
}

Json ask(const std::filesystem::path& folder, const Json& request, std::chrono::milliseconds timeout, int pass, Fd* received) {
  auto keeper = connect_control(folder);
  if (!keeper) fail("cluster '{}' does not run", folder.filename().native());
  std::optional<Json> answer;
  if (keeper->send(request, pass)) answer = keeper->receive(timeout, true);
  if (!answer) {
    throw_if_interrupted();
    fail("the keeper of cluster '{}' gave no answer to '{}'", folder.filename().native(), request.value("do", ""));
  }
  if (answer->contains("error")) container::throw_error(answer->at("error"));
  if (received != nullptr) {
    auto fds = keeper->take_fds();
    if (fds.empty()) fail("the keeper of cluster '{}' sent no descriptor", folder.filename().native());
    *received = std::move(fds.front());
  }
  return *answer;
}

Fd keeper_process(const std::filesystem::path& folder) {
  const auto keeper = connect_control(folder);
  if (!keeper) return {};
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(keeper->fd(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid <= 0) return {};
  Fd process(static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0)));
  // Had it died in between, the number might be another's; then the connection is broken by now.
  pollfd polled{keeper->fd(), 0, 0};
  if (::poll(&polled, 1, 0) != 0) return {};
  return process;
}

sockaddr_in socket_address(const std::string& address, int port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(static_cast<std::uint16_t>(port));
  if (::inet_pton(AF_INET, address.c_str(), &result.sin_addr) != 1) fail("'{}' is no IPv4 address", address);
  return result;
}

}  // namespace kiln::provider::local
