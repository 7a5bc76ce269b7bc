// The channel: one authenticated stream between two of kiln's programs (launcher and agent, agent and agent).
//
// On the wire, both ways: frames of  u32 length (big-endian, of the payload) · u8 type · payload.
// Types: 'J' one JSON object; 'I' bytes for standard input, 'O' standard output, 'E' standard error; 'C' end of standard input.
// A frame holds at most kMaxFrameBytes.
//
// Handshake, 'J' frames, before anything else:
//   server → {"kiln":1,"nonce":"<32 hex>"}
//   client → {"nonce":"<32 hex>","mac":HMAC(secret,"client:"+server nonce+":"+client nonce)}
//   server → {"mac":HMAC(secret,"server:"+server nonce+":"+client nonce)}     or closes
// Both sides prove that they have the cluster's secret; it never travels. The stream itself is not encrypted: it runs inside the
// cluster's own network, and from outside through what the provider opens (a namespace, SSH). Rejected: TLS with a pre-shared key
// (a static OpenSSL's TLS half costs the agent more than its size budget), bearer tokens (readable by whoever listens).
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/json.h"

namespace kiln {

struct Frame {
  char type = 'J';
  std::string payload;
  Json json() const;  // Error when it is no JSON object
};

// The pieces of which Channel is made, for programs that do their own waiting (the agent's event loop).

// `message` as the payload of a 'J' frame; bytes that are no UTF-8 (a service's log lines) become U+FFFD.
std::string json_payload(const Json& message);
// Appends the frame to `out`; what is longer than a frame is split.
void append_frame(std::string& out, char type, std::string_view payload);

// Cuts a stream of bytes into frames.
class FrameReader {
 public:
  // Frames over `max_bytes` are an error: small until the peer has proved who it is.
  explicit FrameReader(std::size_t max_bytes) : max_bytes_(max_bytes) {}
  void set_max_bytes(std::size_t max_bytes) { max_bytes_ = max_bytes; }
  void feed(std::string_view bytes) { buffer_ += bytes; }
  // The next whole frame, if there is one. Error for an unknown type or one that is too long.
  std::optional<Frame> next();
  bool has_frame() const;
  bool empty() const { return position_ == buffer_.size(); }

 private:
  std::size_t max_bytes_;
  std::string buffer_;
  std::size_t position_ = 0;  // of the first byte not yet given out
};

// One side of the handshake as a machine of three states: no reading, no waiting.
class Handshake {
 public:
  static constexpr std::size_t kMaxFrameBytes = 512;
  enum class Side { kClient, kServer };
  Handshake(Side side, std::string_view secret);
  // What to send before anything was received (the server's nonce).
  std::optional<Json> first() const;
  // Takes the peer's next message; gives what to send, if anything. Error when the peer is no agent or has another secret.
  std::optional<Json> step(const Frame& frame);
  bool done() const { return done_; }

 private:
  std::string mac(std::string_view side) const;
  Side side_;
  std::string secret_, server_nonce_, client_nonce_;
  bool done_ = false;
};

class Channel {
 public:
  static constexpr std::size_t kMaxFrameBytes = 1 << 20;

  // Shake hands on a connected socket. Error: "… refused the secret", a peer that is no kiln agent, or time out.
  static Channel as_client(Fd socket, std::string_view secret, std::chrono::milliseconds timeout);
  static Channel as_server(Fd socket, std::string_view secret, std::chrono::milliseconds timeout);

  void send(const Json& message);
  void send(char type, std::string_view payload);  // splits what is longer than a frame
  // The next frame; nothing at the end of the stream. Waits at most `timeout` (default: for ever, or until Ctrl-C → Interrupted);
  // Error on time-out or a broken frame.
  std::optional<Frame> receive(std::optional<std::chrono::milliseconds> timeout = {});
  // True when receive() would not wait (bytes of a whole frame are buffered already).
  bool has_buffered_frame() const;
  int fd() const { return socket_.get(); }
  Fd release() { return std::move(socket_); }
  void shut_down();

 private:
  explicit Channel(Fd socket);
  static Channel shake_hands(Fd socket, Handshake handshake, std::chrono::milliseconds timeout);
  void send_bytes(std::string_view bytes, std::optional<std::chrono::steady_clock::time_point> deadline);
  // Reads once into the reader; false at the end of the stream.
  bool read_more(std::optional<std::chrono::steady_clock::time_point> deadline);
  Fd socket_;
  FrameReader reader_;
};

}  // namespace kiln
