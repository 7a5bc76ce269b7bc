#include "node/http_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>

#include "base/strings.h"
#include "node/readiness.h"

namespace kiln::node {

namespace {

// More than any server's greeting needs.
constexpr std::size_t kMaxHeadBytes = 64 << 10;

[[noreturn]] void no_answer(std::string message) { throw NoAnswer(std::move(message)); }

[[noreturn]] void too_large(std::size_t max_body_bytes) { fail("the answer is larger than {} bytes", max_body_bytes); }

// Digits only, of the whole text.
std::optional<std::size_t> number(std::string_view text, int base) {
  std::size_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || problem != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

HttpAnswer parse_head(std::string_view head) {
  HttpAnswer answer;
  const auto lines = split(head, '\n');
  const std::string status(trim(lines[0]));
  const auto code = status.size() >= 12 && status.starts_with("HTTP/1.") ? number(std::string_view(status).substr(9, 3), 10) : std::nullopt;
  if (!code) no_answer("the answer is no HTTP");
  answer.status = static_cast<int>(*code);
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto colon = lines[i].find(':');
    if (colon == std::string::npos) continue;
    answer.headers[to_lower(trim(std::string_view(lines[i]).substr(0, colon)))] = trim(std::string_view(lines[i]).substr(colon + 1));
  }
  return answer;
}

// The body of chunks; nothing while the last one has not come.
std::optional<std::string> join_chunks(std::string_view bytes, std::size_t max_body_bytes) {
  std::string body;
  for (;;) {
    const auto end = bytes.find("\r\n");
    if (end == std::string_view::npos) return {};
    const auto size = number(trim(bytes.substr(0, std::min(end, bytes.find(';')))), 16);
    if (!size) no_answer("the answer is in broken chunks");
    if (*size > max_body_bytes || body.size() + *size > max_body_bytes) too_large(max_body_bytes);
    bytes.remove_prefix(end + 2);
    if (*size == 0) return body;
    if (bytes.size() < *size + 2) return {};
    body += bytes.substr(0, *size);
    bytes.remove_prefix(*size + 2);
  }
}

// Waits until the socket is ready for `events`. NoAnswer when the time is over.
void wait_for(int fd, short events, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) no_answer("no answer in time");
    pollfd entry{fd, events, 0};
    const int count = ::poll(&entry, 1, static_cast<int>(left.count()));
    if (count > 0) return;
    if (count < 0 && errno != EINTR) no_answer(errno_text(errno));
  }
}

Fd connect_to(const HttpTarget& target, Clock::time_point deadline) {
  errno = 0;
  Fd socket = start_connect(target.host, target.port);
  if (!socket) {
    if (errno == 0) fail("'{}' is no IPv4 address", target.host);
    no_answer(errno_text(errno));
  }
  wait_for(socket.get(), POLLOUT, deadline);
  int problem = 0;
  socklen_t size = sizeof problem;
  ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &problem, &size);
  if (problem != 0) no_answer(errno_text(problem));
  return socket;
}

void send_all(int fd, std::string_view bytes, Clock::time_point deadline) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      wait_for(fd, POLLOUT, deadline);
    } else if (errno != EINTR) {
      no_answer(errno_text(errno));
    }
  }
}

HttpAnswer receive(int fd, std::size_t max_body_bytes, Clock::time_point deadline) {
  std::string bytes;
  char piece[16 << 10];
  for (;;) {
    wait_for(fd, POLLIN, deadline);
    const ssize_t count = ::recv(fd, piece, sizeof piece, 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (count < 0) no_answer(errno_text(errno));
    bytes.append(piece, static_cast<std::size_t>(count));
    if (auto answer = parse_http_answer(bytes, count == 0, max_body_bytes)) return std::move(*answer);
  }
}

}  // namespace

std::optional<HttpAnswer> parse_http_answer(std::string_view bytes, bool whole, std::size_t max_body_bytes) {
  if (!std::string_view("HTTP/1.").starts_with(bytes.substr(0, 7))) no_answer("the answer is no HTTP");
  const auto end_of_head = bytes.find("\r\n\r\n");
  if (end_of_head == std::string_view::npos) {
    if (bytes.size() > kMaxHeadBytes) no_answer("the answer is no HTTP");
    if (whole) no_answer("the connection ended before the answer");
    return {};
  }
  HttpAnswer answer = parse_head(bytes.substr(0, end_of_head));
  const auto rest = bytes.substr(end_of_head + 4);
  if (to_lower(answer.headers["transfer-encoding"]) == "chunked") {
    auto body = join_chunks(rest, max_body_bytes);
    if (!body && whole) no_answer("the connection ended within the answer");
    if (!body) return {};
    answer.body = std::move(*body);
    return answer;
  }
  if (const auto written = answer.headers.find("content-length"); written != answer.headers.end()) {
    const auto length = number(written->second, 10);
    if (!length) no_answer("the answer's length is no number");
    if (*length > max_body_bytes) too_large(max_body_bytes);
    if (rest.size() < *length && whole) no_answer("the connection ended within the answer");
    if (rest.size() < *length) return {};
    answer.body = rest.substr(0, *length);
    return answer;
  }
  if (rest.size() > max_body_bytes) too_large(max_body_bytes);
  if (!whole) return {};
  answer.body = rest;
  return answer;
}

std::string http_text(const HttpRequest& request) {
  const auto target = parse_http_target(request.url);
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: {}{}\r\nUser-Agent: kiln-node\r\nAccept: */*\r\nConnection: close\r\n",
                                 request.method, target.path, target.host, target.port == 80 ? "" : fmt::format(":{}", target.port));
  if (request.method != "GET") text += "Content-Length: 0\r\n";
  for (const auto& [name, value] : request.headers) text += name + ": " + value + "\r\n";
  return text + "\r\n";
}

HttpAnswer ask_http(const HttpRequest& request, std::chrono::milliseconds timeout) {
  const auto target = parse_http_target(request.url);
  const auto deadline = Clock::now() + timeout;
  return with_context(fmt::format("asking {} {}", request.method, request.url), [&] {
    const Fd socket = connect_to(target, deadline);
    send_all(socket.get(), http_text(request), deadline);
    return receive(socket.get(), request.max_body_bytes, deadline);
  });
}

}  // namespace kiln::node
