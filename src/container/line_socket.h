// JSON objects over a stream socket, one a line, each optionally with a descriptor (SCM_RIGHTS): between a cell and its owner, and
// between kiln and a running cluster's keeper. A line break never stands inside a JSON text as we write it, so a line is a message.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/json.h"

namespace kiln::container {

class LineSocket {
 public:
  LineSocket() = default;
  explicit LineSocket(Fd fd) : fd_(std::move(fd)) {}

  // False when the other side has gone. `pass` (or -1) travels with the message and stays open here.
  bool send(const Json& message, int pass = -1);
  // The next message; nothing at the end of the stream, at `timeout`, or when Ctrl-C was pressed (see base/interrupt.h; only if
  // `interruptible`). Error for what is no JSON.
  std::optional<Json> receive(std::optional<std::chrono::milliseconds> timeout = {}, bool interruptible = false);
  // The descriptors that came with what was received so far, in order.
  std::vector<Fd> take_fds() { return std::exchange(received_, {}); }

  int fd() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }
  void shut_down();
  void close() { fd_.reset(); }

 private:
  Fd fd_;
  std::string buffer_;
  std::vector<Fd> received_;
};

// Both ends of a connection.
std::pair<LineSocket, LineSocket> make_socket_pair();

}  // namespace kiln::container
