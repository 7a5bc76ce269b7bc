// What only masters' agents do: keep the whole cluster's events and states, tell all nodes what is ready and who is there,
// stop the cluster in order. Several masters each do all of it for themselves: every agent reports to every master.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/node_document.h"
#include "node/connection.h"
#include "node/events.h"
#include "node/lease.h"
#include "node/plan.h"

namespace kiln::node {

class Master {
 public:
  struct Hooks {
    std::function<void()> on_change;                                       // of any node's services
    std::function<void(const std::set<std::string>&)> on_ready;            // what is ready in the cluster
    std::function<void(const std::vector<config::NodeEntry>&)> on_roster;  // the nodes have changed
    std::function<void(const std::string&)> on_lost;                       // a node
    std::function<void()> on_busy;                                         // something goes on on a node
    std::function<void(std::optional<std::chrono::milliseconds>, std::function<void()>)> stop_own;
  };
  Master(Loop& loop, const config::NodeDocument& document, const Plan& plan, NodeEvents& own_events, Hooks hooks);

  // Requests (docs/channel.md); each takes the connection over.
  void serve_report(std::shared_ptr<Connection> connection, const Json& request);
  void serve_events(std::shared_ptr<Connection> connection, std::uint64_t from, bool so_far);
  void serve_status(std::shared_ptr<Connection> connection);
  void serve_nodes(std::shared_ptr<Connection> connection, std::vector<config::NodeEntry> nodes);
  void serve_stop(std::shared_ptr<Connection> connection, std::optional<std::chrono::milliseconds> at_most);

  // Workers, then the other masters, then this node; `end` tells the agents to end too.
  void stop_cluster(std::optional<std::chrono::milliseconds> at_most, bool end, std::function<void()> done);

  // All nodes are told, and those that come later.
  void set_lease(const Lease& lease);
  void set_own_services(Json services, const std::string& leaving);
  const std::vector<config::NodeEntry>& roster() const { return roster_; }
  bool is_first_master() const;
  // Every node of the roster is there, with all its services ready.
  bool everything_is_ready() const;

 private:
  struct NodeState {
    config::NodeEntry entry;
    double cpus = 0;
    std::int64_t memory_bytes = 0;
    Json services = Json::array();
    std::set<std::string> ready;
    std::string boot;              // of its agent: another one numbers its events anew
    std::uint64_t next_event = 1;  // of its numbers
    std::shared_ptr<Connection> connection;
    std::string leaving;  // why its machine goes, as it says itself
    bool there = false;   // connected, or gone for less than kGrace
    bool settled = false, stopped = false;
    std::uint64_t roster_version = 0;
    double last_seen = 0;
    Loop::TimerId lost_timer = 0;
  };
  struct Stop {
    std::optional<std::chrono::milliseconds> at_most;
    bool end;
    std::vector<std::function<void()>> done;
    int phase = -1;  // 0: workers, 1: other masters, 2: this node's turn, 3: it is stopping, 4: all have stopped
    Loop::TimerId timer = 0;
  };
  struct Waiter {  // a `nodes` request
    std::shared_ptr<Connection> connection;
    std::uint64_t version;
    Loop::TimerId timer;
  };

  void merge_own();
  void merge(const std::string& node, Event event);
  void take_report_frame(const std::string& node, const Frame& frame);
  void set_services(NodeState& state, Json services);
  void lost_connection(const std::string& node, const Connection* connection);
  void tell_ready();
  std::set<std::string> cluster_ready() const;
  void set_roster(std::vector<config::NodeEntry> nodes);
  void tell_roster(NodeState& state);
  void answer_waiters();
  void advance_stop();
  NodeState& own() { return nodes_[document_.node]; }

  Loop& loop_;
  const config::NodeDocument& document_;
  const Plan& plan_;
  NodeEvents& own_events_;
  Hooks hooks_;
  std::optional<Lease> lease_;  // as this master was told
  std::vector<config::NodeEntry> roster_;
  std::uint64_t roster_version_ = 1;
  std::map<std::string, NodeState> nodes_;
  std::uint64_t merged_own_ = 0;
  std::set<std::string> told_ready_;
  NumberedLog log_{20000, 24u << 20};
  std::optional<Stop> stop_;
  std::vector<Waiter> waiters_;
};

// {"name","role","address"} and lists of it, as documents have them.
Json roster_to_json(const std::vector<config::NodeEntry>& nodes);
// Error for what is no list of nodes.
std::vector<config::NodeEntry> roster_from_json(const Json& json);

}  // namespace kiln::node
