// The agent as a whole: from the node document to running services, told to the masters and to whoever asks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/node_document.h"
#include "node/appliance.h"
#include "node/idle.h"
#include "node/lease.h"
#include "node/master.h"
#include "node/preparation.h"
#include "node/report.h"
#include "node/script.h"
#include "node/server.h"
#include "node/spot_watch.h"
#include "node/supervisor.h"

namespace kiln::node {

class Agent {
 public:
  // `standalone`: a container of its own, which is no part of a cluster.
  Agent(Loop& loop, Paths paths, config::NodeDocument document, std::optional<Standalone> standalone = {});

  // Listens, sets up and starts; all of it goes on in the loop, which quits (0) when the agent has been told to end. A standalone one
  // quits (1) when it can't do its work.
  void start();
  // The cluster's time is over: its lease has ended, or nothing has gone on for too long.
  bool is_over() const { return is_over_; }
  // And the document says that machines are switched off then.
  bool wants_power_off() const { return is_over_ && document_.power_off; }

  // Asks a cloud's metadata service, as long as the agent runs, whether the machine will be taken back; does nothing where the document
  // says that it is not on the spot market. After start().
  void watch_for_notices(const std::string& metadata_service);

  // One authenticated connection's request. Errors are answered by the server.
  void serve(std::shared_ptr<Connection> connection, const Json& request);

 private:
  void take_stop_signal();
  void listen();
  void plan();
  void read_environment();
  void prepare_folders();
  void make_master();
  void make_reporters();
  void make_supervisor();
  void prepare();
  void start_setup();
  void watch_lease();
  void take_lease(const Lease& lease);
  void watch_idleness();
  std::string own_work();
  std::optional<std::chrono::seconds> idle_patience() const;
  void end_cluster(const std::string& event, const std::string& why, bool all);
  void changed();
  void tell_node_is_done(bool ok, const std::string& why = {});
  void run_applications();
  void take_ready(const std::string& master, std::set<std::string> ready);
  void take_roster(const std::vector<config::NodeEntry>& nodes);
  void stop_own(std::optional<std::chrono::milliseconds> at_most, std::function<void()> done);
  void end();
  void print_events();

  void serve_exec_request(std::shared_ptr<Connection> connection, const Json& request);
  void serve_script(std::shared_ptr<Connection> connection, const Json& request);
  void serve_drain(std::shared_ptr<Connection> connection, std::chrono::seconds at_most);
  void drain(std::chrono::seconds at_most);
  void leave(const SpotNotice& notice);
  void serve_logs_request(std::shared_ptr<Connection> connection, const Json& request);
  void serve_notes(const std::shared_ptr<Connection>& connection, const Json& request);
  // True when another node is meant, to whose agent the request was passed on.
  bool passed_on(const std::shared_ptr<Connection>& connection, Json request);
  void drop_relays(const std::string& node);
  Master& require_master();

  Loop& loop_;
  Paths paths_;
  config::NodeDocument document_;
  std::optional<Standalone> standalone_;
  OutputLines output_;
  std::string boot_;
  ImageFacts facts_;
  Plan plan_;
  Environment env_;
  NodeEvents events_;
  std::unique_ptr<Supervisor> supervisor_;
  std::unique_ptr<Preparation> preparation_;
  std::unique_ptr<ScriptRun> setup_, applications_, drain_;
  std::vector<std::shared_ptr<Connection>> drain_waiters_;
  std::string drain_failure_;
  bool draining_ = false;
  std::unique_ptr<SpotWatch> spot_watch_;
  std::string leaving_;  // why and when this machine goes; empty: nobody has said that it does
  std::unique_ptr<Master> master_;
  std::vector<std::unique_ptr<Reporter>> reporters_;
  std::unique_ptr<Server> server_;
  std::multimap<std::string, std::weak_ptr<Connection>> relays_;  // by the node that answers
  std::map<std::string, std::set<std::string>> ready_by_master_;
  std::uint64_t activity_ = 0;
  std::uint64_t printed_ = 0;
  std::string setup_failure_;
  Lease lease_;
  Loop::TimerId lease_timer_ = 0;
  std::unique_ptr<IdleWatch> idle_;
  std::vector<std::weak_ptr<Connection>> sessions_;  // of launchers, where idleness is watched
  Clock::time_point started_ = Clock::now();
  bool node_is_done_ = false, setup_ended_ = false, is_over_ = false, was_complete_ = false;
  int stop_signals_ = 0;
};

}  // namespace kiln::node
