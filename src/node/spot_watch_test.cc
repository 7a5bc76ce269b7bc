// Notices in the words of EC2's documentation, and a metadata service that forgets tokens, is silent and at last gives one.
#include "node/spot_watch.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "base/error.h"

namespace kiln::node {
namespace {

TEST(SpotNotice, is_read_as_ec2_writes_it) {
  EXPECT_EQ(parse_spot_notice(R"({"action": "terminate", "time": "2017-09-18T08:22:00Z"})"), (SpotNotice{"terminate", 1505722920}));
  EXPECT_EQ(parse_spot_notice(R"({"action":"hibernate","time":"1970-01-01T00:00:10Z"})"), (SpotNotice{"hibernate", 10}));
}

TEST(SpotNotice, that_is_none_is_none) {
  for (const std::string text :
       {"", "404 - Not Found", "[]", "{}", R"({"action": "terminate"})", R"({"action": 1, "time": "2017-09-18T08:22:00Z"})",
        R"({"action": "terminate", "time": "tomorrow"})", R"({"action": "terminate", "time": "2017-09-18T08:22:00Z and later"})"})
    EXPECT_FALSE(parse_spot_notice(text)) << text;
}

// Answers its connections in order, one each, and keeps what was asked; "" closes without a word.
class Service {
 public:
  explicit Service(std::vector<std::string> answers) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(socket_.get(), 8), 0);
    EXPECT_EQ(::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, answers = std::move(answers)] { serve(answers); });
  }
  ~Service() {
    ::shutdown(socket_.get(), SHUT_RDWR);
    thread_.join();
  }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
  // After the last answer.
  const std::vector<std::string>& asked() const { return asked_; }

 private:
  void serve(const std::vector<std::string>& answers) {
    for (const auto& answer : answers) {
      const Fd client(::accept(socket_.get(), nullptr, nullptr));
      if (!client) return;
      std::string request;
      char bytes[4096];
      while (request.find("\r\n\r\n") == std::string::npos) {
        const ssize_t count = ::recv(client.get(), bytes, sizeof bytes, 0);
        if (count <= 0) break;
        request.append(bytes, static_cast<std::size_t>(count));
      }
      asked_.push_back(request);
      EXPECT_EQ(::send(client.get(), answer.data(), answer.size(), MSG_NOSIGNAL), static_cast<ssize_t>(answer.size()));
    }
  }
  Fd socket_;
  int port_ = 0;
  std::vector<std::string> asked_;
  std::thread thread_;
};

std::string answer(int status, const std::string& body) {
  return fmt::format("HTTP/1.1 {} X\r\nContent-Length: {}\r\n\r\n{}", status, body.size(), body);
}

TEST(SpotWatch, asks_until_there_is_a_notice) {
  Service service({answer(503, "starting"), answer(200, "first-token"), answer(404, "none yet"), "", answer(401, ""),
                   answer(200, "second-token"), answer(200, R"({"action": "terminate", "time": "2017-09-18T08:22:00Z"})")});
  Loop loop;
  std::vector<SpotNotice> notices;
  SpotWatch watch(
      loop, service.url(), [&](const SpotNotice& notice) { notices.push_back(notice); }, std::chrono::milliseconds(1));
  const auto deadline = Clock::now() + std::chrono::seconds(20);
  while (notices.empty() && Clock::now() < deadline) loop.run_once(std::chrono::milliseconds(100));
  ASSERT_EQ(notices, (std::vector<SpotNotice>{{"terminate", 1505722920}}));
  const auto& asked = service.asked();
  ASSERT_EQ(asked.size(), 7u);
  for (const std::size_t token : {0u, 1u, 5u}) EXPECT_TRUE(asked[token].starts_with("PUT /latest/api/token HTTP/1.1\r\n")) << asked[token];
  for (const std::size_t question : {2u, 3u, 4u, 6u}) {
    EXPECT_TRUE(asked[question].starts_with("GET /latest/meta-data/spot/instance-action HTTP/1.1\r\n")) << asked[question];
    EXPECT_NE(asked[question].find(question == 6 ? "token: second-token\r\n" : "token: first-token\r\n"), std::string::npos)
        << asked[question];
  }
}

TEST(SpotWatch, may_go_while_it_asks) {
  Service service({});
  Loop loop;
  {
    SpotWatch watch(loop, service.url(), [](const SpotNotice&) { FAIL(); });
    loop.run_once(std::chrono::milliseconds(10));
  }
  loop.run_once(std::chrono::milliseconds(10));
}

}  // namespace
}  // namespace kiln::node
