#include "provider/local/relay.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <list>

#include "base/error.h"
#include "provider/local/control.h"

namespace kiln::provider::local {

namespace {

// A browser opens six connections to a host; some hundreds are plenty, and keep a runaway client from eating the keeper's descriptors.
constexpr std::size_t kMostConnections = 256;

// One direction: what was read and not yet written.
struct Flow {
  std::array<char, 16384> bytes;
  std::size_t begin = 0, end = 0;
  bool finished = false;  // the reader saw the end
  bool closed = false;    // and the writer was told
  bool wants_input() const { return !finished && begin == end; }
  bool wants_output() const { return begin < end; }
};

struct Connection {
  Fd client, node;
  Flow to_node, to_client;
  bool broken = false;
};

// Moves what can be moved without waiting.
void move(Flow& flow, int from, int to, short from_events, short to_events, bool& broken) {
  if (flow.wants_input() && (from_events & (POLLIN | POLLHUP | POLLERR)) != 0) {
    const ssize_t count = ::recv(from, flow.bytes.data(), flow.bytes.size(), MSG_DONTWAIT);
    if (count > 0) {
      flow.begin = 0;
      flow.end = static_cast<std::size_t>(count);
      to_events |= POLLOUT;  // most likely
    } else if (count == 0) {
      flow.finished = true;
    } else if (errno != EAGAIN && errno != EINTR) {
      broken = true;
    }
  }
  if (flow.wants_output() && (to_events & (POLLOUT | POLLERR)) != 0) {
    const ssize_t count = ::send(to, flow.bytes.data() + flow.begin, flow.end - flow.begin, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0) {
      flow.begin += static_cast<std::size_t>(count);
    } else if (errno != EAGAIN && errno != EINTR) {
      broken = true;
    }
  }
  if (flow.finished && !flow.wants_output() && !flow.closed) {
    ::shutdown(to, SHUT_WR);
    flow.closed = true;
  }
}

}  // namespace

Relays::Relays() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void Relays::add(Fd listener, const std::string& address, int port) {
  ::fcntl(listener.get(), F_SETFL, O_NONBLOCK);
  const std::lock_guard guard(lock_);
  fresh_.push_back({std::move(listener), address, port});
  if (!started_) {
    started_ = true;
    std::thread([this] { serve(); }).detach();
  }
  ::eventfd_write(wake_.get(), 1);
}

void Relays::serve() {
  std::vector<Listener> listeners;
  std::list<Connection> connections;
  for (;;) {
    {
      const std::lock_guard guard(lock_);
      for (auto& listener : fresh_) listeners.push_back(std::move(listener));
      fresh_.clear();
    }
    std::vector<pollfd> polled{{wake_.get(), POLLIN, 0}};
    const bool full = connections.size() >= kMostConnections;
    for (const auto& listener : listeners) polled.push_back({full ? -1 : listener.socket.get(), POLLIN, 0});
    for (const auto& connection : connections) {
      const auto events = [](const Flow& from_here, const Flow& to_here) {
        return static_cast<short>((from_here.wants_input() ? POLLIN : 0) | (to_here.wants_output() ? POLLOUT : 0));
      };
      // A side that nothing is wanted of is left out: its hang-up would be reported again and again.
      const short client = events(connection.to_node, connection.to_client), node = events(connection.to_client, connection.to_node);
      polled.push_back({client != 0 ? connection.client.get() : -1, client, 0});
      polled.push_back({node != 0 ? connection.node.get() : -1, node, 0});
    }
    if (::poll(polled.data(), polled.size(), -1) < 0) continue;
    eventfd_t ignored;
    if (polled[0].revents != 0) ::eventfd_read(wake_.get(), &ignored);

    std::size_t at = 1 + listeners.size();
    for (auto& connection : connections) {
      const short client = polled[at].revents, node = polled[at + 1].revents;
      at += 2;
      move(connection.to_node, connection.client.get(), connection.node.get(), client, node, connection.broken);
      move(connection.to_client, connection.node.get(), connection.client.get(), node, client, connection.broken);
    }
    connections.remove_if(
        [](const Connection& connection) { return connection.broken || (connection.to_node.closed && connection.to_client.closed); });

    for (std::size_t i = 0; i < listeners.size(); ++i) {
      if ((polled[1 + i].revents & POLLIN) == 0) continue;
      Fd client(::accept4(listeners[i].socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!client) continue;
      Fd node(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      const sockaddr_in target = socket_address(listeners[i].address, listeners[i].port);
      if (!node || (::connect(node.get(), reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0 && errno != EINPROGRESS))
        continue;
      auto& connection = connections.emplace_back();
      connection.client = std::move(client);
      connection.node = std::move(node);
    }
  }
}

}  // namespace kiln::provider::local
