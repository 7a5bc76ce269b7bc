#include "node/connection.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/error.h"
#include "node/readiness.h"

namespace kiln::node {

Connection::Connection(Loop& loop, Fd socket, Handshake handshake)
    : loop_(loop),
      socket_(std::move(socket)),
      handshake_(std::move(handshake)),
      reader_(Handshake::kMaxFrameBytes),
      client_(!handshake_.first()),
      connecting_(client_) {
  // A peer whose machine vanished says nothing more: ask after 3 s of silence, each second, and give up after the third; 6 s in all.
  const int on = 1, idle = 3, interval = 1, count = 3;
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void Connection::give_up_unread() {
  const int user_timeout_ms = 6000;
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
}

std::shared_ptr<Connection> Connection::make(Loop& loop, Fd socket, Handshake handshake) {
  return std::shared_ptr<Connection>(new Connection(loop, std::move(socket), std::move(handshake)));
}

Connection::~Connection() {
  loop_.cancel(timer_);
  if (socket_) loop_.unwatch(socket_.get());
}

void Connection::start(Handlers handlers) {
  set_handlers(std::move(handlers));
  // The loop's watch keeps the connection alive until it is closed.
  loop_.watch(socket_.get(), EPOLLIN | (connecting_ ? EPOLLOUT : 0u),
              [self = shared_from_this()](std::uint32_t events) { self->handle(events); });
  timer_ = loop_.after(kHandshakeTimeout, [this] {
    timer_ = 0;
    drop("no handshake within 5 s");
  });
  if (const auto hello = handshake_.first()) send(*hello);
}

void Connection::set_handlers(Handlers handlers) {
  loop_.defer([old = handlers_] {});
  handlers_ = std::make_shared<Handlers>(std::move(handlers));
}

void Connection::drop(const std::string& why) {
  if (closed_) return;
  const auto self = shared_from_this();
  const auto handlers = handlers_;
  const bool expected = closing_;
  close();
  if (handlers->on_close && !expected) handlers->on_close(why);
}

void Connection::close() {
  if (closed_) return;
  closed_ = true;
  const auto self = shared_from_this();
  loop_.cancel(timer_);
  timer_ = 0;
  loop_.unwatch(socket_.get());
  socket_.reset();
  std::string().swap(out_);
  out_position_ = 0;
  // Handlers hold what holds us: break the circle, but not under the feet of one that is running.
  loop_.defer([self] { self->handlers_ = std::make_shared<Handlers>(); });
}

void Connection::close_after_sending() {
  if (closed_ || closing_) return;
  closing_ = true;
  if (backlog_bytes() == 0) end_sending();
  update_events();
}

// The peer sees the end after all that was sent, and closes in turn. One that has not within 5 s has a last look at what is in the kernel.
void Connection::end_sending() {
  ::shutdown(socket_.get(), SHUT_WR);
  loop_.cancel(timer_);
  timer_ = loop_.after(std::chrono::milliseconds(5000), [this] {
    timer_ = 0;
    close();
  });
}

void Connection::send_error(const std::string& words, const std::string& hint) {
  Json answer{{"error", words}};
  if (!hint.empty()) answer["hint"] = hint;
  send(answer);
  close_after_sending();
}

void Connection::send(char type, std::string_view payload) {
  if (closed_ || closing_) return;
  const bool was_empty = backlog_bytes() == 0;
  append_frame(out_, type, payload);
  if (backlog_bytes() > kMaxBacklogBytes) {
    // Not from within the sender's call: it does not expect its connection to be gone.
    loop_.defer([self = shared_from_this()] { self->drop("it does not read what it is sent"); });
    return;
  }
  if (was_empty && !connecting_) write();
  if (is_full()) was_full_ = true;
}

void Connection::update_events() {
  if (closed_) return;
  const bool reads = !paused_ || closing_;
  // A server that pauses would not see its client go otherwise. A client's answer may be whole in the kernel when its server goes.
  loop_.set_events(socket_.get(), (reads     ? static_cast<std::uint32_t>(EPOLLIN)
                                   : client_ ? 0u
                                             : static_cast<std::uint32_t>(EPOLLRDHUP)) |
                                      (backlog_bytes() > 0 || connecting_ ? static_cast<std::uint32_t>(EPOLLOUT) : 0u));
}

void Connection::pause_reading(bool pause) {
  if (paused_ == pause || closed_) return;
  paused_ = pause;
  update_events();
  // Frames that were read already wait in our buffer, where no event announces them.
  if (!pause && !taking_) loop_.defer([self = shared_from_this()] { self->take_frames(); });
}

void Connection::handle(std::uint32_t events) {
  const auto self = shared_from_this();
  if (connecting_ && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
    if (!connect_succeeded(socket_.get())) return drop("cannot connect");
    connecting_ = false;
    update_events();
  }
  if ((events & EPOLLOUT) != 0) write();
  if (!closed_ && (events & EPOLLIN) != 0) read();
  if (!closed_ && (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) != 0 && (events & EPOLLIN) == 0) drop("the peer closed the connection");
}

void Connection::write() {
  while (!closed_ && backlog_bytes() > 0) {
    const ssize_t count = ::send(socket_.get(), out_.data() + out_position_, backlog_bytes(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) break;
    if (count < 0) {
      loop_.defer([self = shared_from_this()] { self->drop("the peer closed the connection"); });
      return;
    }
    out_position_ += static_cast<std::size_t>(count);
  }
  if (closed_) return;
  if (backlog_bytes() == 0) {
    out_.clear();
    out_position_ = 0;
    if (out_.capacity() > (64u << 10)) std::string().swap(out_);
    if (closing_) end_sending();
  } else if (out_position_ > out_.size() / 2) {
    out_.erase(0, out_position_);
    out_position_ = 0;
  }
  update_events();
  if (was_full_ && backlog_bytes() < kHighWaterBytes / 2) {
    was_full_ = false;
    loop_.defer([self = shared_from_this()] {
      const auto handlers = self->handlers_;
      if (!self->closed_ && handlers->on_drained) handlers->on_drained();
    });
  }
}

void Connection::read() {
  char bytes[64 << 10];
  const ssize_t count = ::recv(socket_.get(), bytes, sizeof bytes, MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    drop(open_ ? "the peer closed the connection" : "the peer closed the connection before the handshake");
    return;
  }
  if (closing_) return;
  reader_.feed({bytes, static_cast<std::size_t>(count)});
  take_frames();
}

void Connection::take_frames() {
  const auto self = shared_from_this();
  taking_ = true;
  try {
    while (!closed_ && !closing_ && !paused_) {
      auto frame = reader_.next();
      if (!frame) break;
      const auto handlers = handlers_;
      if (open_) {
        if (handlers->on_frame) handlers->on_frame(std::move(*frame));
        continue;
      }
      if (const auto answer = handshake_.step(*frame)) send(*answer);
      if (!handshake_.done()) continue;
      open_ = true;
      reader_.set_max_bytes(Channel::kMaxFrameBytes);
      loop_.cancel(timer_);
      timer_ = 0;
      if (handlers->on_open) handlers->on_open();
    }
  } catch (const std::exception& error) {
    drop(error.what());
  }
  taking_ = false;
}

}  // namespace kiln::node
