#include "node/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"

namespace kiln::node {

namespace {

void forget_closed(std::deque<std::weak_ptr<Connection>>& connections) {
  std::erase_if(connections, [](const auto& weak) {
    const auto connection = weak.lock();
    return !connection || connection->is_closed();
  });
}

}  // namespace

Server::Server(Loop& loop, std::string secret, OnRequest on_request)
    : loop_(loop), secret_(std::move(secret)), on_request_(std::move(on_request)) {}

Server::~Server() {
  for (const auto& listener : listeners_) loop_.unwatch(listener.get());
}

void Server::listen(const std::string& address, int port) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) fail("cannot make a socket: {}", errno_text(errno));
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(socket.get(), IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  if (::inet_pton(AF_INET, address.c_str(), &at.sin_addr) != 1) fail("'{}' is no IPv4 address", address);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) < 0 || ::listen(socket.get(), 512) < 0)
    fail("cannot listen on {}:{}: {}", address, port, errno_text(errno));
  const int fd = socket.get();
  listeners_.push_back(std::move(socket));
  loop_.watch(fd, EPOLLIN, [this, fd](std::uint32_t) { accept(fd); });
}

void Server::accept(int listener) {
  for (int i = 0; i < 64; ++i) {
    Fd socket(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS) return;
      // The one that waits would wake us for ever; look again when some connection may have gone.
      loop_.set_events(listener, 0);
      loop_.after(std::chrono::milliseconds(100), [this, listener] { loop_.set_events(listener, EPOLLIN); });
      return;
    }
    forget_closed(strangers_);
    forget_closed(friends_);
    if (friends_.size() >= kMaxConnections) continue;
    if (strangers_.size() >= kMaxStrangers) {
      if (const auto oldest = strangers_.front().lock()) oldest->close();
      strangers_.pop_front();
    }
    const auto connection = Connection::make(loop_, std::move(socket), Handshake(Handshake::Side::kServer, secret_));
    strangers_.push_back(connection);
    const std::weak_ptr<Connection> weak = connection;
    connection->start({[this, weak] {
                         std::erase_if(strangers_, [&](const auto& each) { return each.lock() == weak.lock(); });
                         friends_.push_back(weak);
                       },
                       [this, weak](const Frame& frame) {
                         if (const auto alive = weak.lock()) take(alive, frame);
                       },
                       nullptr, nullptr});
  }
}

void Server::take(const std::shared_ptr<Connection>& connection, const Frame& frame) {
  try {
    on_request_(connection, frame.json());
  } catch (const Error& error) {
    connection->send_error(error.message(), error.hint_text());
  } catch (const std::exception& error) {
    connection->send_error(std::string("the request is malformed: ") + error.what());
  }
}

}  // namespace kiln::node
