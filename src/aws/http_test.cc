// One request and its answer: limits of time, and addresses. What servers may do else is in tests/aws/faults.py.
#include "aws/http.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <thread>

#include "bake/test_http_server.h"
#include "base/fd.h"

namespace kiln::aws {
namespace {

// Takes connections (the kernel does) and never says a word.
class SilentServer {
 public:
  SilentServer() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    ::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), length);
    ::listen(socket_.get(), 4);
    ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  const std::string& url() const { return url_; }

 private:
  Fd socket_;
  std::string url_;
};

TEST(Http, AServerThatSaysNothingIsGivenUpAndMayHaveActed) {
  const SilentServer server;
  Http http;
  HttpRequest request;
  request.url = server.url();
  request.stall_timeout = std::chrono::milliseconds(300);
  const auto start = std::chrono::steady_clock::now();
  try {
    http.send(request);
    FAIL();
  } catch (const HttpFailure& failure) {
    EXPECT_TRUE(failure.timed_out());
    EXPECT_EQ(failure.stage(), HttpFailure::Stage::kSent);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST(Http, OneThatIsNotThereCannotHaveActed) {
  Http http;
  HttpRequest request;
  request.url = "http://127.0.0.1:9";
  try {
    http.send(request);
    FAIL();
  } catch (const HttpFailure& failure) {
    EXPECT_EQ(failure.stage(), HttpFailure::Stage::kConnect);
  }
  request.url = "http://no-such-host.invalid";
  try {
    http.send(request);
    FAIL();
  } catch (const HttpFailure& failure) {
    EXPECT_EQ(failure.stage(), HttpFailure::Stage::kName);
  }
}

TEST(Http, ManyThreadsShareOne) {
  bake::TestHttpServer server([](const std::string& path, int) {
    bake::TestAnswer answer;
    answer.body = "you asked for " + path;
    return answer;
  });
  Http http;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 20; ++i) {
        HttpRequest request;
        request.url = server.url(fmt::format("/{}/{}", thread, i));
        EXPECT_EQ(http.send(request).body, fmt::format("you asked for /{}/{}", thread, i));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(server.requests().size(), 160u);
}

TEST(Http, HeadersCannotSmuggleOthers) {
  Http http;
  HttpRequest request;
  request.url = "http://127.0.0.1:9";
  request.headers = {{"x-a", "b\r\nx-evil: c"}};
  EXPECT_THROW(http.send(request), Error);
}

TEST(Urls, AreTakenApart) {
  const auto url = parse_url("HTTPS://EC2.Example.com:443/a/b//");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->scheme + " " + url->host + " " + url->path, "https ec2.example.com /a/b");
  EXPECT_EQ(parse_url("http://127.0.0.1:4566/")->host, "127.0.0.1:4566");
  EXPECT_EQ(parse_url("http://[::1]:80")->host, "[::1]");
  for (const char* bad : {"", "ec2.example.com", "ftp://x", "http://", "http:///x", "http://a@b", "http://a b", "https://x?y", "http://:80",
                          "file:///etc/passwd"})
    EXPECT_FALSE(parse_url(bad)) << bad;
}

}  // namespace
}  // namespace kiln::aws
