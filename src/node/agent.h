// The agent as a whole: from the node document to running services, told to the masters and to whoever asks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/node_document.h"
#include "node/master.h"
#include "node/report.h"
#include "node/script.h"
#include "node/server.h"
#include "node/supervisor.h"

namespace kiln::node {

class Agent {
 public:
  Agent(Loop& loop, Paths paths, config::NodeDocument document);

  // Listens, sets up and starts; all of it goes on in the loop, which quits (0) when the agent has been told to end.
  void start();

  // One authenticated connection's request. Errors are answered by the server.
  void serve(std::shared_ptr<Connection> connection, const Json& request);

 private:
  void plan();
  void prepare_folders();
  void make_master();
  void make_reporters();
  void make_supervisor();
  void start_setup();
  void watch_lease();
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
  void serve_logs_request(std::shared_ptr<Connection> connection, const Json& request);
  // True when another node is meant, to whose agent the request was passed on.
  bool passed_on(const std::shared_ptr<Connection>& connection, Json request);
  Master& require_master();

  Loop& loop_;
  Paths paths_;
  config::NodeDocument document_;
  std::string boot_;
  ImageFacts facts_;
  Plan plan_;
  Environment env_;
  NodeEvents events_;
  std::unique_ptr<Supervisor> supervisor_;
  std::unique_ptr<ScriptRun> setup_, applications_;
  std::unique_ptr<Master> master_;
  std::vector<std::unique_ptr<Reporter>> reporters_;
  std::unique_ptr<Server> server_;
  std::map<std::string, std::set<std::string>> ready_by_master_;
  std::uint64_t activity_ = 0;
  std::uint64_t printed_ = 0;
  std::string setup_failure_;
  bool node_is_done_ = false, setup_ended_ = false, lease_ended_ = false;
  int stop_signals_ = 0;
};

// Where the document comes from: a file. (Instance metadata and environment variables will come in beside it.)
config::NodeDocument read_document(const std::filesystem::path& file);

}  // namespace kiln::node
