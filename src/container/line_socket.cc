#include "container/line_socket.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/interrupt.h"

namespace kiln::container {

namespace {
constexpr std::size_t kMostFds = 16;  // in one message; we send one
}

bool LineSocket::send(const Json& message, int pass) {
  // Text from programs' output may be no UTF-8: replaced, never an exception out of a log line.
  const std::string line = message.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  std::string_view rest = line;
  while (!rest.empty()) {
    iovec part{const_cast<char*>(rest.data()), rest.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    if (pass >= 0) {
      header.msg_control = control.data();
      header.msg_controllen = control.size();
      cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(rights), &pass, sizeof pass);
    }
    const ssize_t count = ::sendmsg(fd_.get(), &header, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    rest.remove_prefix(static_cast<std::size_t>(count));
    pass = -1;
  }
  return true;
}

std::optional<Json> LineSocket::receive(std::optional<std::chrono::milliseconds> timeout, bool interruptible) {
  const auto deadline = std::chrono::steady_clock::now() + timeout.value_or(std::chrono::milliseconds(0));
  for (;;) {
    const std::size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      Json message = Json::parse(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
      buffer_.erase(0, end + 1);
      if (!message.is_object()) fail("a kiln process sent something that is no JSON object");
      return message;
    }
    pollfd polled[] = {{fd_.get(), POLLIN, 0}, {interruptible ? interrupt_fd() : -1, POLLIN, 0}};
    int wait_ms = -1;
    if (timeout) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      wait_ms = static_cast<int>(std::max<std::int64_t>(0, left.count()));
    }
    const int ready = ::poll(polled, 2, wait_ms);
    if (interruptible && interrupted()) return std::nullopt;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return std::nullopt;

    std::array<char, 65536> bytes;
    iovec part{bytes.data(), bytes.size()};
    msghdr header{};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMostFds)> control{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    const ssize_t count = ::recvmsg(fd_.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    for (cmsghdr* item = CMSG_FIRSTHDR(&header); count >= 0 && item != nullptr; item = CMSG_NXTHDR(&header, item)) {
      if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
      for (std::size_t at = 0; at + sizeof(int) <= item->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(item) + at, sizeof fd);
        received_.emplace_back(fd);
      }
    }
    if (count <= 0) return std::nullopt;
    buffer_.append(bytes.data(), static_cast<std::size_t>(count));
  }
}

void LineSocket::shut_down() {
  if (fd_) ::shutdown(fd_.get(), SHUT_RDWR);
}

std::pair<LineSocket, LineSocket> make_socket_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) fail("cannot make a pair of sockets: {}", errno_text(errno));
  return {LineSocket(Fd(ends[0])), LineSocket(Fd(ends[1]))};
}

}  // namespace kiln::container
