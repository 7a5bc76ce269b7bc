#include "base/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"

namespace kiln {

namespace {

constexpr std::size_t kHeaderBytes = 5;
constexpr std::size_t kNonceBytes = 16;
constexpr std::string_view kFrameTypes = "JIOEC";

using Deadline = std::optional<std::chrono::steady_clock::time_point>;

std::uint32_t payload_length(const char* header) {
  std::uint32_t length = 0;
  for (int i = 0; i < 4; ++i) length = (length << 8) | static_cast<unsigned char>(header[i]);
  return length;
}

// Waits until `fd` is ready for `events`. Error when the deadline passes, Interrupted on Ctrl-C.
void wait_for(int fd, short events, const Deadline& deadline) {
  for (;;) {
    throw_if_interrupted();
    int wait = -1;
    if (deadline) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now()).count();
      if (left <= 0) throw Error("timed out waiting for the agent");
      wait = static_cast<int>(std::min<std::int64_t>(left, 1 << 30));
    }
    pollfd polled[2] = {{fd, events, 0}, {interrupt_fd(), POLLIN, 0}};
    const int count = ::poll(polled, 2, wait);
    if (count < 0 && errno != EINTR) fail("cannot wait for the agent: {}", errno_text(errno));
    if (count > 0 && polled[0].revents != 0) return;
  }
}

std::string text_member(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_string()) throw Error("the peer is no kiln agent");
  return found->get<std::string>();
}

}  // namespace

Json Frame::json() const {
  if (type != 'J') fail("expected a message, got a frame of type '{}'", type);
  Json parsed = Json::parse(payload, nullptr, false);
  if (!parsed.is_object()) throw Error("a message that is no JSON object");
  return parsed;
}

std::string json_payload(const Json& message) { return message.dump(-1, ' ', false, Json::error_handler_t::replace); }

void append_frame(std::string& out, char type, std::string_view payload) {
  do {
    const auto part = payload.substr(0, Channel::kMaxFrameBytes);
    payload.remove_prefix(part.size());
    const auto length = static_cast<std::uint32_t>(part.size());
    for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>((length >> shift) & 0xff);
    out += type;
    out += part;
  } while (!payload.empty());
}

std::optional<Frame> FrameReader::next() {
  if (buffer_.size() - position_ < kHeaderBytes) return {};
  const char* header = buffer_.data() + position_;
  const std::size_t length = payload_length(header);
  const char type = header[4];
  // Checked as soon as the header is there: a peer that speaks something else shall not make us wait for its bytes.
  if (kFrameTypes.find(type) == std::string_view::npos) throw Error("a broken frame: the peer is no kiln agent");
  if (length > max_bytes_) fail("a frame of {} bytes, where {} are allowed", length, max_bytes_);
  if (buffer_.size() - position_ < kHeaderBytes + length) return {};
  Frame frame{type, buffer_.substr(position_ + kHeaderBytes, length)};
  position_ += kHeaderBytes + length;
  // Move the rest down only when most is used up: a buffer of many small frames would be copied once for each otherwise.
  if (position_ == buffer_.size()) {
    buffer_.clear();
    position_ = 0;
  } else if (position_ > buffer_.size() / 2) {
    buffer_.erase(0, position_);
    position_ = 0;
  }
  if (buffer_.empty() && buffer_.capacity() > (64u << 10)) std::string().swap(buffer_);
  return frame;
}

bool FrameReader::has_frame() const {
  return buffer_.size() - position_ >= kHeaderBytes &&
         buffer_.size() - position_ - kHeaderBytes >= payload_length(buffer_.data() + position_);
}

Handshake::Handshake(Side side, std::string_view secret) : side_(side), secret_(secret) {
  // An empty key would make every peer that has none a trusted one.
  if (secret_.empty()) throw Error("the cluster has no secret");
  (side_ == Side::kServer ? server_nonce_ : client_nonce_) = random_hex(kNonceBytes);
}

std::string Handshake::mac(std::string_view side) const {
  return hmac_sha256_hex(secret_, fmt::format("{}:{}:{}", side, server_nonce_, client_nonce_));
}

std::optional<Json> Handshake::first() const {
  if (side_ == Side::kClient) return {};
  return Json{{"kiln", 1}, {"nonce", server_nonce_}};
}

std::optional<Json> Handshake::step(const Frame& frame) {
  if (frame.type != 'J') throw Error("the peer is no kiln agent");
  const Json message = frame.json();
  if (side_ == Side::kServer) {
    client_nonce_ = text_member(message, "nonce");
    if (client_nonce_.size() != 2 * kNonceBytes) throw Error("the peer is no kiln agent");
    if (!equal_in_constant_time(text_member(message, "mac"), mac("client"))) throw Error("the peer does not have the cluster's secret");
    done_ = true;
    return Json{{"mac", mac("server")}};
  }
  if (server_nonce_.empty()) {
    const auto version = message.find("kiln");
    if (version == message.end()) throw Error("the peer is no kiln agent");
    if (*version != 1) fail("the agent speaks version {} of the protocol, this program version 1", json_payload(*version));
    server_nonce_ = text_member(message, "nonce");
    if (server_nonce_.size() != 2 * kNonceBytes) throw Error("the peer is no kiln agent");
    return Json{{"nonce", client_nonce_}, {"mac", mac("client")}};
  }
  if (!equal_in_constant_time(text_member(message, "mac"), mac("server"))) throw Error("the agent does not have the cluster's secret");
  done_ = true;
  return {};
}

Channel::Channel(Fd socket) : socket_(std::move(socket)), reader_(Handshake::kMaxFrameBytes) {
  // Waiting is poll's business alone: a read that blocks could not be interrupted.
  const int flags = ::fcntl(socket_.get(), F_GETFL);
  if (flags < 0 || ::fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK) < 0) fail("cannot use the connection: {}", errno_text(errno));
}

Channel Channel::shake_hands(Fd socket, Handshake handshake, std::chrono::milliseconds timeout) {
  const Deadline deadline = std::chrono::steady_clock::now() + timeout;
  Channel channel(std::move(socket));
  const auto send_json = [&](const Json& message) {
    std::string bytes;
    append_frame(bytes, 'J', json_payload(message));
    channel.send_bytes(bytes, deadline);
  };
  bool answered = false;
  if (auto message = handshake.first()) send_json(*message);
  while (!handshake.done()) {
    std::optional<Frame> frame;
    while (!(frame = channel.reader_.next())) {
      bool open = false;
      try {
        open = channel.read_more(deadline);
      } catch (Error& error) {
        // A peer that refuses us resets the connection if bytes of ours were unread.
        if (!answered || error.message().find("timed out") != std::string::npos) throw;
      }
      if (!open) {
        if (answered) throw Error("the agent refused the secret");
        throw Error("the peer closed the connection before the handshake");
      }
    }
    if (auto message = handshake.step(*frame)) {
      send_json(*message);
      answered = true;
    }
  }
  channel.reader_.set_max_bytes(kMaxFrameBytes);
  return channel;
}

Channel Channel::as_client(Fd socket, std::string_view secret, std::chrono::milliseconds timeout) {
  return shake_hands(std::move(socket), Handshake(Handshake::Side::kClient, secret), timeout);
}

Channel Channel::as_server(Fd socket, std::string_view secret, std::chrono::milliseconds timeout) {
  return shake_hands(std::move(socket), Handshake(Handshake::Side::kServer, secret), timeout);
}

void Channel::send_bytes(std::string_view bytes, std::optional<std::chrono::steady_clock::time_point> deadline) {
  while (!bytes.empty()) {
    ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == ENOTSOCK) count = ::write(socket_.get(), bytes.data(), bytes.size());
    if (count >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      wait_for(socket_.get(), POLLOUT, deadline);
    } else if (errno != EINTR) {
      fail("cannot send to the agent: {}", errno_text(errno));
    }
  }
}

bool Channel::read_more(std::optional<std::chrono::steady_clock::time_point> deadline) {
  char bytes[64 << 10];
  for (;;) {
    const ssize_t count = ::read(socket_.get(), bytes, sizeof bytes);
    if (count > 0) {
      reader_.feed({bytes, static_cast<std::size_t>(count)});
      return true;
    }
    if (count == 0) return false;
    if (errno == EAGAIN) {
      wait_for(socket_.get(), POLLIN, deadline);
    } else if (errno != EINTR) {
      fail("cannot receive from the agent: {}", errno_text(errno));
    }
  }
}

void Channel::send(const Json& message) {
  const std::string payload = json_payload(message);
  if (payload.size() > kMaxFrameBytes) fail("a message of {} bytes is too long for the agent", payload.size());
  send('J', payload);
}

void Channel::send(char type, std::string_view payload) {
  std::string bytes;
  append_frame(bytes, type, payload);
  send_bytes(bytes, {});
}

std::optional<Frame> Channel::receive(std::optional<std::chrono::milliseconds> timeout) {
  Deadline deadline;
  if (timeout) deadline = std::chrono::steady_clock::now() + *timeout;
  for (;;) {
    if (auto frame = reader_.next()) return frame;
    if (!read_more(deadline)) {
      if (reader_.empty()) return {};
      throw Error("the agent's connection broke off within a message");
    }
  }
}

bool Channel::has_buffered_frame() const { return reader_.has_frame(); }

void Channel::shut_down() { ::shutdown(socket_.get(), SHUT_RDWR); }

}  // namespace kiln
