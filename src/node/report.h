// A node's standing connection to one master's agent: its events and states go there, what is ready, who is there and the order to stop
// come back.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "config/node_document.h"
#include "node/connection.h"
#include "node/events.h"
#include "node/lease.h"

namespace kiln::node {

class Reporter {
 public:
  struct Hooks {
    std::function<Json()> services;
    std::function<std::string()> leaving;  // why the machine goes; empty: it stays
    std::function<void(std::set<std::string>)> on_ready;
    std::function<void(std::vector<config::NodeEntry>)> on_roster;
    std::function<void(const Lease&)> on_lease;
    // Stop all services, then call the function; `end`: then the agent ends too.
    std::function<void(std::optional<std::chrono::milliseconds>, bool end, std::function<void()>)> stop;
  };
  Reporter(Loop& loop, const config::NodeDocument& document, std::string boot, config::NodeEntry master, NodeEvents& events, Hooks hooks);
  ~Reporter();
  void start() { connect(); }
  // The services' states have changed.
  void services_changed();
  // Something goes on here. Not kept for a master that is away: it hears of it with the next look.
  void tell_busy(const std::string& what);
  bool is_connected() const { return connection_ && told_have_; }
  const std::string& master() const { return master_.name; }
  void set_master_address(const std::string& address) { master_.address = address; }
  // All that is told so far has left.
  bool is_flushed() const {
    return !connection_ || !told_have_ || (connection_->backlog_bytes() == 0 && next_event_ >= events_.log().next_number());
  }

 private:
  void connect();
  void retry();
  void take(const Frame& frame);
  void pump_events();

  Loop& loop_;
  const config::NodeDocument& document_;
  std::string boot_;
  config::NodeEntry master_;
  NodeEvents& events_;
  Hooks hooks_;
  std::shared_ptr<Connection> connection_;
  bool told_have_ = false;  // the master has said which events it has
  std::uint64_t next_event_ = 1;
  std::string last_trouble_;
  int listener_ = 0;
  // Both boot together, so the first attempts come too early by milliseconds, seldom by seconds.
  std::chrono::milliseconds pause_{10};
  Loop::TimerId retry_timer_ = 0, attempt_timer_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace kiln::node
