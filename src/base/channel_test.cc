#include "base/channel.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <future>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"

namespace kiln {
namespace {

using std::chrono::milliseconds;

std::pair<Fd, Fd> socket_pair() {
  int fds[2];
  EXPECT_EQ(0, ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
  return {Fd(fds[0]), Fd(fds[1])};
}

struct Pair {
  std::optional<Channel> client, server;
  std::string client_error, server_error;
};

Pair connect(const std::string& client_secret, const std::string& server_secret) {
  auto [a, b] = socket_pair();
  Pair pair;
  std::thread server([&, fd = std::move(b)]() mutable {
    try {
      pair.server = Channel::as_server(std::move(fd), server_secret, milliseconds(2000));
    } catch (const Error& error) {
      pair.server_error = error.message();
    }
  });
  try {
    pair.client = Channel::as_client(std::move(a), client_secret, milliseconds(2000));
  } catch (const Error& error) {
    pair.client_error = error.message();
  }
  server.join();
  return pair;
}

TEST(Channel, CarriesMessagesBothWays) {
  Pair pair = connect("s3cret", "s3cret");
  ASSERT_TRUE(pair.client && pair.server) << pair.client_error << pair.server_error;
  pair.client->send(Json{{"do", "status"}});
  EXPECT_EQ("status", pair.server->receive(milliseconds(1000))->json()["do"]);
  pair.server->send('O', "text");
  pair.server->send('C', "");
  const auto frame = pair.client->receive(milliseconds(1000));
  EXPECT_EQ('O', frame->type);
  EXPECT_EQ("text", frame->payload);
  EXPECT_EQ('C', pair.client->receive(milliseconds(1000))->type);
  pair.server.reset();
  EXPECT_FALSE(pair.client->receive(milliseconds(1000)));
}

TEST(Channel, SplitsWhatIsLongerThanAFrame) {
  Pair pair = connect("s3cret", "s3cret");
  std::string big(3 * Channel::kMaxFrameBytes + 7, 'x');
  for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>(i * 31);
  auto sender = std::async(std::launch::async, [&] { pair.server->send('O', big); });
  std::string got;
  int frames = 0;
  for (; got.size() < big.size(); ++frames) got += pair.client->receive(milliseconds(5000))->payload;
  sender.get();
  EXPECT_EQ(4, frames);
  EXPECT_TRUE(big == got);
}

TEST(Channel, RefusesAWrongSecretOnBothSides) {
  const Pair pair = connect("right", "wrong");
  EXPECT_EQ("the agent refused the secret", pair.client_error);
  EXPECT_EQ("the peer does not have the cluster's secret", pair.server_error);
}

TEST(Channel, RefusesAServerThatLacksTheSecret) {
  Handshake client(Handshake::Side::kClient, "right");
  EXPECT_FALSE(client.first());
  const Json hello{{"kiln", 1}, {"nonce", std::string(32, 'a')}};
  ASSERT_TRUE(client.step(Frame{'J', hello.dump()}));
  EXPECT_THROW(client.step(Frame{'J', Json{{"mac", std::string(64, '0')}}.dump()}), Error);
  EXPECT_FALSE(client.done());
}

TEST(Channel, RefusesAnEmptySecret) { EXPECT_THROW(Handshake(Handshake::Side::kServer, ""), Error); }

TEST(Channel, TellsAPeerThatIsNoAgent) {
  auto [a, b] = socket_pair();
  ASSERT_GT(::send(b.get(), "SSH-2.0-OpenSSH\r\n", 17, 0), 0);
  try {
    Channel::as_client(std::move(a), "s", milliseconds(500));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string::npos, error.message().find("no kiln agent")) << error.message();
  }
}

TEST(Channel, TimesOutOnASilentPeer) {
  auto [a, b] = socket_pair();
  EXPECT_THROW(Channel::as_client(std::move(a), "s", milliseconds(30)), Error);
  Pair pair = connect("s3cret", "s3cret");
  EXPECT_THROW(pair.client->receive(milliseconds(30)), Error);
}

TEST(Channel, EndsAWaitOnCtrlC) {
  catch_interrupts();
  Pair pair = connect("s3cret", "s3cret");
  set_interrupted(true);
  EXPECT_THROW(pair.client->receive(), Interrupted);
  set_interrupted(false);
}

TEST(Channel, ReplacesBytesThatAreNoUtf8) {
  EXPECT_EQ(
      "{\"text\":\"a\xEF\xBF\xBD"
      "b\"}",
      json_payload(Json{{"text",
                         "a\xff"
                         "b"}}));
}

TEST(FrameReader, CutsFramesWhereverTheBytesBreak) {
  std::string bytes;
  append_frame(bytes, 'J', "{}");
  append_frame(bytes, 'O', "");
  append_frame(bytes, 'I', "abc");
  for (std::size_t step = 1; step <= bytes.size(); ++step) {
    FrameReader reader(100);
    std::string seen;
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      reader.feed(std::string_view(bytes).substr(at, step));
      while (auto frame = reader.next()) seen += frame->type + frame->payload + ";";
    }
    EXPECT_EQ("J{};O;Iabc;", seen);
    EXPECT_TRUE(reader.empty());
  }
}

TEST(FrameReader, RefusesLongFramesAndUnknownTypesAtTheHeader) {
  FrameReader reader(10);
  reader.feed(std::string_view("\0\0\0\x0bJ", 5));
  EXPECT_THROW(reader.next(), Error);
  FrameReader other(10);
  other.feed(std::string_view("\0\0\0\x01X", 5));
  EXPECT_THROW(other.next(), Error);
}

}  // namespace
}  // namespace kiln
