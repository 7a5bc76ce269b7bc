#include "node/http_exchange.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "node/readiness.h"

namespace kiln::node {

HttpExchange::HttpExchange(Loop& loop, HttpRequest request, std::chrono::milliseconds timeout, Done done)
    : loop_(loop), done_(std::move(done)), max_body_bytes_(request.max_body_bytes), out_(http_text(request)) {
  const auto target = parse_http_target(request.url);
  socket_ = start_connect(target.host, target.port);
  // Never from within the constructor: whoever makes an exchange has no hold of it yet.
  timer_ = loop_.after(socket_ ? timeout : std::chrono::milliseconds(0), [this] {
    timer_ = 0;
    finish(nullptr, socket_ ? "no answer in time" : "cannot connect");
  });
  if (socket_) loop_.watch(socket_.get(), EPOLLOUT, [this](std::uint32_t) { send(); });
}

HttpExchange::~HttpExchange() {
  loop_.cancel(timer_);
  if (socket_) loop_.unwatch(socket_.get());
}

void HttpExchange::send() {
  if (!connect_succeeded(socket_.get())) return finish(nullptr, "cannot connect");
  const ssize_t count = ::send(socket_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count < 0) return finish(nullptr, errno_text(errno));
  out_.erase(0, static_cast<std::size_t>(count));
  if (out_.empty()) loop_.watch(socket_.get(), EPOLLIN, [this](std::uint32_t) { receive(); });
}

void HttpExchange::receive() {
  char bytes[16 << 10];
  const ssize_t count = ::recv(socket_.get(), bytes, sizeof bytes, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count < 0) return finish(nullptr, errno_text(errno));
  in_.append(bytes, static_cast<std::size_t>(count));
  std::optional<HttpAnswer> answer;
  try {
    answer = parse_http_answer(in_, count == 0, max_body_bytes_);
    if (!answer) return;
  } catch (const Error& error) {
    return finish(nullptr, error.message());
  }
  finish(&*answer, {});
}

void HttpExchange::finish(const HttpAnswer* answer, const std::string& why) {
  loop_.cancel(std::exchange(timer_, 0));
  if (socket_) loop_.unwatch(socket_.get());
  socket_.reset();
  const auto done = std::move(done_);
  done(answer, why);
}

}  // namespace kiln::node
