// A web server for tests: answers by a function, on 127.0.0.1, in a thread of its own. It logs what it was asked, and can cut an answer.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"

namespace kiln::bake {

struct TestAnswer {
  int status = 200;
  std::string body;
  std::map<std::string, std::string> headers = {};
  bool ranges = true;             // honour Range
  std::size_t cut_after = ~0ULL;  // close after so many bytes of the body
};

class TestHttpServer {
 public:
  using Answer = std::function<TestAnswer(const std::string& path, int nth)>;  // nth: how often this path was asked, from 1

  explicit TestHttpServer(Answer answer) : answer_(std::move(answer)), socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    ::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), length);
    ::listen(socket_.get(), 16);
    ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~TestHttpServer() {
    stop_ = true;
    thread_.join();
  }
  std::string url(const std::string& path) const { return "http://127.0.0.1:" + std::to_string(port_) + path; }
  // "GET /x", with " bytes=5-" when a range was asked for.
  std::vector<std::string> requests() const {
    const std::lock_guard guard(lock_);
    return requests_;
  }

 private:
  void serve() {
    while (!stop_) {
      pollfd polled{socket_.get(), POLLIN, 0};
      if (::poll(&polled, 1, 20) <= 0) continue;
      const Fd client(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (client) answer_one(client.get());
    }
  }
  void answer_one(int client) {
    std::string request;
    char buffer[4096];
    while (request.find("\r\n\r\n") == std::string::npos) {
      const ssize_t count = ::read(client, buffer, sizeof buffer);
      if (count <= 0) return;
      request.append(buffer, static_cast<std::size_t>(count));
    }
    const std::size_t start = request.find(' ') + 1;
    const std::string path = request.substr(start, request.find(' ', start) - start);
    std::size_t offset = 0;
    std::string range;
    if (const std::size_t at = request.find("Range: "); at != std::string::npos) {
      range = request.substr(at + 7, request.find('\r', at) - at - 7);
      offset = std::stoul(range.substr(6));
    }
    int nth = 0;
    {
      const std::lock_guard guard(lock_);
      requests_.push_back("GET " + path + (range.empty() ? "" : " " + range));
      nth = ++counts_[path];
    }
    TestAnswer answer = answer_(path, nth);
    if (!answer.ranges) offset = 0;
    const std::size_t whole = answer.body.size();
    if (offset > 0 && answer.status == 200) answer.status = offset < whole ? 206 : 416;
    std::string body = answer.status == 416 ? "" : answer.body.substr(std::min(offset, whole));
    std::string head =
        "HTTP/1.1 " + std::to_string(answer.status) + " X\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
    if (answer.status == 206)
      head += "Content-Range: bytes " + std::to_string(offset) + "-" + std::to_string(whole - 1) + "/" + std::to_string(whole) + "\r\n";
    for (const auto& [name, value] : answer.headers) head += name + ": " + value + "\r\n";
    body.resize(std::min(body.size(), answer.cut_after));
    const std::string all = head + "\r\n" + body;
    for (std::string_view left = all; !left.empty();) {
      const ssize_t count = ::send(client, left.data(), left.size(), MSG_NOSIGNAL);
      if (count <= 0) return;
      left.remove_prefix(static_cast<std::size_t>(count));
    }
  }

  Answer answer_;
  Fd socket_;
  int port_ = 0;
  std::atomic<bool> stop_ = false;
  mutable std::mutex lock_;
  std::vector<std::string> requests_;
  std::map<std::string, int> counts_;
  std::thread thread_;
};

}  // namespace kiln::bake
