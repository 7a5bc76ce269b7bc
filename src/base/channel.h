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
  explicit Channel(Fd socket) : socket_(std::move(socket)) {}
  Fd socket_;
  std::string buffer_;
};

}  // namespace kiln
