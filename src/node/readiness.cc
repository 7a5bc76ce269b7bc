#include "node/readiness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>

#include "base/error.h"
#include "base/process.h"
#include "base/strings.h"

namespace kiln::node {

namespace {

using std::chrono::milliseconds;

int parse_port(std::string_view text, const std::string& whole) {
  int port = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (problem != std::errc() || end != text.data() + text.size() || port < 1 || port > 65535)
    fail("'{}' names no port from 1 to 65535", whole);
  return port;
}

class LogProbe : public Probe {
 public:
  LogProbe(std::string needle, std::function<void()> on_ready) : finder_(std::move(needle)), on_ready_(std::move(on_ready)) {}
  void on_output(std::string_view bytes) override {
    if (!done_ && finder_.feed(bytes)) {
      done_ = true;
      const auto on_ready = on_ready_;  // it may destroy us
      on_ready();
    }
  }

 private:
  LineFinder finder_;
  std::function<void()> on_ready_;
  bool done_ = false;
};

// Asks again and again. An attempt ends in success() or again().
class AskingProbe : public Probe {
 public:
  AskingProbe(ProbeContext context, std::function<void()> on_ready) : context_(std::move(context)), on_ready_(std::move(on_ready)) {}
  ~AskingProbe() override { context_.loop.cancel(timer_); }

 protected:
  virtual void attempt() = 0;
  virtual void give_up_attempt() = 0;
  void start() {
    // An attempt that hangs is worth as little as one that failed; 5 s is what a loaded service may take to answer.
    timer_ = context_.loop.after(milliseconds(5000), [this] { again(); });
    attempt();
  }
  void again() {
    give_up_attempt();
    context_.loop.cancel(timer_);
    timer_ = context_.loop.after(pause_, [this] { start(); });
    pause_ = std::min(pause_ * 2, milliseconds(500));
  }
  void success() {
    give_up_attempt();
    context_.loop.cancel(timer_);
    timer_ = 0;
    // May destroy us.
    const auto on_ready = on_ready_;
    on_ready();
  }
  ProbeContext context_;

 private:
  std::function<void()> on_ready_;
  Loop::TimerId timer_ = 0;
  milliseconds pause_{20};
};

// Connects; what comes then is the derived class's.
class SocketProbe : public AskingProbe {
 public:
  using AskingProbe::AskingProbe;
  ~SocketProbe() override { close(); }

 protected:
  void connect_to(const std::string& address, int port) {
    socket_ = start_connect(address, port);
    if (!socket_) return again();
    context_.loop.watch(socket_.get(), EPOLLOUT, [this](std::uint32_t) {
      if (!connect_succeeded(socket_.get())) return again();
      connected();
    });
  }
  virtual void connected() = 0;
  void give_up_attempt() override { close(); }
  void close() {
    if (socket_) context_.loop.unwatch(socket_.get());
    socket_.reset();
  }
  Fd socket_;
};

class TcpProbe : public SocketProbe {
 public:
  TcpProbe(const std::string& target, ProbeContext context, std::function<void()> on_ready)
      : SocketProbe(std::move(context), std::move(on_ready)) {
    std::tie(host_, port_) = parse_tcp_target(target);
    start();
  }

 private:
  void attempt() override {
    auto address = host_.empty() ? (other_ ? "127.0.0.1" : context_.own_address) : context_.resolve(host_);
    // A port alone: services listen on the node's address or on loopback, we can't know which.
    other_ = !other_;
    if (!address) return again();
    connect_to(*address, port_);
  }
  void connected() override { success(); }
  std::string host_;
  int port_ = 0;
  bool other_ = false;
};

class HttpProbe : public SocketProbe {
 public:
  HttpProbe(const config::Ready& ready, ProbeContext context, std::function<void()> on_ready)
      : SocketProbe(std::move(context), std::move(on_ready)), target_(parse_http_target(ready.target)), contains_(ready.contains) {
    start();
  }

 private:
  void attempt() override {
    answer_.clear();
    const auto address = context_.resolve(target_.host);
    if (!address) return again();
    connect_to(*address, target_.port);
  }
  void connected() override {
    // HTTP/1.0: no answer in chunks, and its end is the connection's.
    const std::string request = fmt::format("GET {} HTTP/1.0\r\nHost: {}:{}\r\nUser-Agent: kiln-node\r\nConnection: close\r\n\r\n",
                                            target_.path, target_.host, target_.port);
    if (::send(socket_.get(), request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) return again();
    context_.loop.watch(socket_.get(), EPOLLIN, [this](std::uint32_t) { read(); });
  }
  void read() {
    char bytes[16 << 10];
    const ssize_t count = ::read(socket_.get(), bytes, sizeof bytes);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count > 0) answer_.append(bytes, static_cast<std::size_t>(count));
    // More than 1 MiB is no status page.
    const auto verdict = judge_http_answer(answer_, contains_, count <= 0 || answer_.size() > (1u << 20));
    if (verdict == HttpVerdict::kYes) return success();
    if (verdict == HttpVerdict::kNo) again();
  }
  HttpTarget target_;
  std::string contains_, answer_;
};

class ExecProbe : public AskingProbe {
 public:
  ExecProbe(const std::string& command, ProbeContext context, std::function<void()> on_ready)
      : AskingProbe(std::move(context), std::move(on_ready)) {
    context_.command.argv = {"/bin/sh", "-c", command};
    start();
  }
  ~ExecProbe() override { kill_command(); }

 private:
  void attempt() override {
    pid_ = spawn(context_.command);
    context_.loop.on_exit(pid_, true, [this, alive = std::weak_ptr<int>(alive_), pid = pid_](int status) {
      if (alive.expired() || pid != pid_) return;
      pid_ = 0;
      if (exit_code_of(status) == 0) return success();
      again();
    });
  }
  void give_up_attempt() override { kill_command(); }
  void kill_command() {
    if (pid_ > 0) ::kill(-pid_, SIGKILL);
    pid_ = 0;
  }
  pid_t pid_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace

HttpTarget parse_http_target(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme)) fail("'{}' is no http:// URL", url);
  const auto slash = url.find('/', kScheme.size());
  const std::string authority = url.substr(kScheme.size(), slash == std::string::npos ? std::string::npos : slash - kScheme.size());
  HttpTarget target;
  target.path = slash == std::string::npos ? "/" : url.substr(slash);
  const auto colon = authority.rfind(':');
  target.host = authority.substr(0, colon);
  if (colon != std::string::npos) target.port = parse_port(std::string_view(authority).substr(colon + 1), url);
  if (target.host.empty()) fail("'{}' names no host", url);
  // A parameter's value may hold anything; a line break would end the request early.
  if (url.find_first_of("\r\n ") != std::string::npos) fail("'{}' is no URL", url);
  return target;
}

std::pair<std::string, int> parse_tcp_target(const std::string& target) {
  const auto colon = target.rfind(':');
  if (colon == std::string::npos) return {"", parse_port(target, target)};
  return {target.substr(0, colon), parse_port(std::string_view(target).substr(colon + 1), target)};
}

HttpVerdict judge_http_answer(std::string_view answer, const std::string& contains, bool whole) {
  const auto end_of_head = answer.find("\r\n\r\n");
  if (end_of_head == std::string_view::npos) return whole ? HttpVerdict::kNo : HttpVerdict::kMore;
  if (!answer.starts_with("HTTP/1.") || answer.size() < 12 || (answer[9] != '2' && answer[9] != '3')) return HttpVerdict::kNo;
  if (contains.empty() || answer.substr(end_of_head + 4).find(contains) != std::string_view::npos) return HttpVerdict::kYes;
  return whole ? HttpVerdict::kNo : HttpVerdict::kMore;
}

LineFinder::LineFinder(const std::string& needles) : needles_(split(needles, '\n')) {
  for (const auto& needle : needles_) longest_ = std::max(longest_, needle.size());
}

bool LineFinder::feed(std::string_view bytes) {
  // Only what could be a needle's beginning has to be kept from piece to piece.
  rest_ += bytes;
  for (const auto& needle : needles_)
    if (rest_.find(needle) != std::string::npos) return true;
  if (rest_.size() > longest_) rest_.erase(0, rest_.size() - longest_);
  return false;
}

Fd start_connect(const std::string& address, int port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  if (::inet_pton(AF_INET, address.c_str(), &to.sin_addr) != 1) return {};
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return {};
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0 && errno != EINPROGRESS) return {};
  return socket;
}

bool connect_succeeded(int fd) {
  int problem = 0;
  socklen_t size = sizeof problem;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size) == 0 && problem == 0;
}

std::unique_ptr<Probe> make_probe(const config::Ready& ready, ProbeContext context, std::function<void()> on_ready) {
  switch (ready.kind) {
    case config::Ready::Kind::kStarted:
      return nullptr;
    case config::Ready::Kind::kLog:
      return std::make_unique<LogProbe>(ready.target, std::move(on_ready));
    case config::Ready::Kind::kTcp:
      return std::make_unique<TcpProbe>(ready.target, std::move(context), std::move(on_ready));
    case config::Ready::Kind::kHttp:
      return std::make_unique<HttpProbe>(ready, std::move(context), std::move(on_ready));
    case config::Ready::Kind::kExec:
      return std::make_unique<ExecProbe>(ready.target, std::move(context), std::move(on_ready));
  }
  return nullptr;
}

}  // namespace kiln::node
