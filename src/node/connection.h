// One end of a channel in the event loop: base/channel.h's frames and handshake, without waiting.
//
// Bounds: a peer that has not proved itself within 5 s is dropped, and until then may send 512 bytes a frame. What is sent is buffered;
// whoever sends much asks backlog_bytes() and goes on at on_drained. Past kMaxBacklogBytes the connection is dropped: the peer does not
// read.
//
// Ends: a client reads an answer to its end, however long it pauses. A server takes a client that hangs up for one that wants no answer
// any more, even while it doesn't read what the client sent before.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/channel.h"
#include "node/loop.h"

namespace kiln::node {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  static constexpr std::chrono::milliseconds kHandshakeTimeout{5000};
  static constexpr std::size_t kMaxBacklogBytes = 8u << 20;
  // Senders of streams pause above this and go on below half of it.
  static constexpr std::size_t kHighWaterBytes = 512u << 10;

  struct Handlers {
    std::function<void()> on_open;  // the handshake is done
    std::function<void(Frame)> on_frame;
    std::function<void(std::string)> on_close;  // why; not after close() or close_after_sending() of our own
    std::function<void()> on_drained;           // the backlog fell below half of kHighWaterBytes
  };

  // `socket` is connected, or (as a client) on its way. Nothing happens before start(). A peer whose machine vanished is noticed after 6 s
  // of silence; while something sent waits for it, only after 15 minutes (the kernel's retransmissions), unless give_up_unread() was said.
  static std::shared_ptr<Connection> make(Loop& loop, Fd socket, Handshake handshake);
  ~Connection();
  void start(Handlers handlers);
  // May be called from a handler: the old ones live until it returns.
  void set_handlers(Handlers handlers);

  void send(const Json& message) { send('J', json_payload(message)); }
  void send(char type, std::string_view payload);
  std::size_t backlog_bytes() const { return out_.size() - out_position_; }
  bool is_full() const { return backlog_bytes() > kHighWaterBytes; }
  bool is_open() const { return open_ && !closed_; }
  bool is_closed() const { return closed_; }
  bool was_open() const { return open_; }
  // Back-pressure on the peer.
  void pause_reading(bool pause);
  // What the peer has not taken from us within 6 s ends the connection: for peers that always read at once.
  void give_up_unread();

  void close();
  // As close(), and on_close hears why.
  void drop(const std::string& why);
  // When all is sent, however long the peer takes. What it still sends is read and thrown away: closing with something unread would make
  // the kernel throw away what the peer has not read yet.
  void close_after_sending();
  void send_error(const std::string& words, const std::string& hint = {});

 private:
  Connection(Loop& loop, Fd socket, Handshake handshake);
  void handle(std::uint32_t events);
  void read();
  void take_frames();
  void write();
  void update_events();
  void end_sending();

  Loop& loop_;
  Fd socket_;
  Handshake handshake_;
  FrameReader reader_;
  std::shared_ptr<Handlers> handlers_ = std::make_shared<Handlers>();
  std::string out_;
  std::size_t out_position_ = 0;
  const bool client_;
  bool connecting_, open_ = false, closed_ = false, paused_ = false, closing_ = false, was_full_ = false, taking_ = false;
  Loop::TimerId timer_ = 0;
};

}  // namespace kiln::node
