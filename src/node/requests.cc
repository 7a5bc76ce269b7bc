// The agent's answers to requests (docs/channel.md).
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "node/agent.h"
#include "node/exec.h"
#include "node/hosts.h"
#include "node/logs.h"
#include "node/relay.h"

namespace kiln::node {

namespace {

std::string text(const Json& request, const char* name, const std::string& fallback) {
  const auto found = request.find(name);
  if (found == request.end() || found->is_null()) return fallback;
  if (!found->is_string()) fail("'{}' is no text", name);
  return found->get<std::string>();
}

bool flag(const Json& request, const char* name) {
  const auto found = request.find(name);
  if (found == request.end() || found->is_null()) return false;
  if (!found->is_boolean()) fail("'{}' is neither true nor false", name);
  return found->get<bool>();
}

std::int64_t number(const Json& request, const char* name, std::int64_t fallback) {
  const auto found = request.find(name);
  if (found == request.end() || found->is_null()) return fallback;
  if (!found->is_number()) fail("'{}' is no number", name);
  const double value = found->get<double>();
  if (!(std::fabs(value) < 1e15)) fail("'{}' is out of range", name);
  return static_cast<std::int64_t>(value);
}

std::optional<std::chrono::milliseconds> timeout_of(const Json& request) {
  const auto found = request.find("timeout");
  if (found == request.end() || found->is_null()) return {};
  if (!found->is_number()) throw Error("'timeout' is no number");
  return std::chrono::milliseconds(static_cast<std::int64_t>(std::clamp(found->get<double>(), 0.0, 86400.0) * 1000));
}

void add_environment(const Json& request, Environment& env) {
  const auto found = request.find("env");
  if (found == request.end() || found->is_null()) return;
  if (!found->is_object()) throw Error("'env' is no object");
  for (const auto& [name, value] : found->items()) {
    if (!value.is_string()) fail("the environment's '{}' is no text", name);
    env[name] = value.get<std::string>();
  }
}

void add_terminal(const Json& request, ExecRequest& exec) {
  exec.terminal = flag(request, "terminal");
  exec.rows = static_cast<int>(number(request, "rows", 24));
  exec.columns = static_cast<int>(number(request, "columns", 80));
  if (exec.terminal) exec.spawn.env.insert({"TERM", "xterm"});
}

}  // namespace

void Agent::serve(std::shared_ptr<Connection> connection, const Json& request) {
  const std::string what = text(request, "do", "");
  // What keeps an idle cluster alive: commands, and whoever waits for it to become ready. To look at it, as at what has happened so far,
  // is no work.
  const bool waits = what == "events" && !flag(request, "so_far");
  if (idle_ && (what == "exec" || what == "script" || what == "drain" || waits)) {
    sessions_.push_back(connection);
    idle_->began();
  }
  if (what == "events")
    return require_master().serve_events(connection, static_cast<std::uint64_t>(std::max<std::int64_t>(0, number(request, "from", 0))),
                                         flag(request, "so_far"));
  if (what == "status") return require_master().serve_status(connection);
  if (what == "report") return require_master().serve_report(connection, request);
  if (what == "nodes") return require_master().serve_nodes(connection, roster_from_json(request.value("nodes", Json())));
  if ((what == "keep" || what == "notes") && !passed_on(connection, request)) return serve_notes(connection, request);
  if (what == "keep" || what == "notes") return;
  if (what == "lease") {
    require_master();
    take_lease(lease_from_json(request.value("lease", Json())));
    connection->send(Json{{"done", true}});
    return connection->close_after_sending();
  }
  if (what == "stop") {
    if (master_) return master_->serve_stop(connection, timeout_of(request));
    connection->set_handlers({nullptr, [](const Frame&) {}, nullptr, nullptr});
    return stop_own(timeout_of(request), [connection] {
      connection->send(Json{{"done", true}});
      connection->close_after_sending();
    });
  }
  const bool known = what == "exec" || what == "script" || what == "logs" || what == "drain";
  if (!known) fail("unknown request '{}'", what);
  if (passed_on(connection, request)) return;
  if (what == "exec") return serve_exec_request(connection, request);
  if (what == "script") return serve_script(connection, request);
  if (what == "drain")
    return serve_drain(connection, std::chrono::seconds(std::clamp<std::int64_t>(number(request, "seconds", 0), 0, 86400)));
  serve_logs_request(connection, request);
}

// What the launcher wants to find again later, from wherever it asks: kept on the master's disk, and where the launcher wants copies.
void Agent::serve_notes(const std::shared_ptr<Connection>& connection, const Json& request) {
  const auto file = paths_.state() / "notes.json";
  Json answer = {{"done", true}};
  if (text(request, "do", "") == "keep") {
    write_file_atomically(file, request.value("notes", Json::object()).dump(), 0600);
  } else {
    answer = {{"notes", Json::parse(read_file_if_there(file).value_or("{}"))}};
  }
  connection->send(answer);
  connection->close_after_sending();
}

Master& Agent::require_master() {
  if (master_) return *master_;
  Error error(fmt::format("node '{}' is a {}, which can't answer this", document_.node, document_.role));
  error.set_hint("ask a master");
  throw error;
}

bool Agent::passed_on(const std::shared_ptr<Connection>& connection, Json request) {
  std::string name = text(request, "node", "");
  if (const auto* first = first_master(document_.nodes); name == "master" && first != nullptr) name = first->name;
  if (name.empty() || name == document_.node) return false;
  const auto& nodes = document_.nodes;
  const auto found = std::find_if(nodes.begin(), nodes.end(), [&](const auto& node) { return node.name == name; });
  if (found == nodes.end() || !master_) {
    std::vector<std::string> names;
    for (const auto& node : nodes) names.push_back(node.name);
    Error error(fmt::format("no node '{}' in cluster '{}'", name, document_.cluster));
    if (!master_) error = Error(fmt::format("node '{}' is no master: it can't reach '{}' for you", document_.node, name));
    if (const auto near = nearest(name, names); near && master_) error.set_hint("did you mean '" + *near + "'?");
    throw error;
  }
  request["node"] = name;
  std::erase_if(relays_, [](const auto& relayed) { return relayed.second.expired(); });
  relays_.emplace(name, relay(loop_, connection, found->address, document_.channel_port, document_.secret, request,
                              "the agent of node '" + name + "'"));
  return true;
}

// The kernel would go on for 15 minutes to send what waits for a machine that is no more.
void Agent::drop_relays(const std::string& node) {
  const auto [first, last] = relays_.equal_range(node);
  std::vector<std::weak_ptr<Connection>> of_node;
  for (auto it = first; it != last; ++it) of_node.push_back(it->second);
  relays_.erase(first, last);
  for (const auto& relayed : of_node)
    if (const auto connection = relayed.lock()) connection->drop("the node is lost");
}

void Agent::serve_exec_request(std::shared_ptr<Connection> connection, const Json& request) {
  ExecRequest exec;
  const auto argv = request.find("argv");
  if (argv == request.end() || !argv->is_array() || argv->empty()) throw Error("'argv' is no list of words");
  for (const auto& word : *argv) {
    if (!word.is_string()) throw Error("'argv' is no list of words");
    exec.spawn.argv.push_back(word.get<std::string>());
  }
  exec.spawn.user = require_user(paths_, text(request, "user", "root"));
  exec.spawn.directory = text(request, "directory", "/");
  exec.spawn.env = login_environment(exec.spawn.user);
  for (const auto& [name, value] : env_) exec.spawn.env[name] = value;
  add_environment(request, exec.spawn.env);
  add_terminal(request, exec);
  serve_exec(loop_, std::move(connection), std::move(exec));
}

void Agent::serve_script(std::shared_ptr<Connection> connection, const Json& request) {
  const std::string name = text(request, "module", "");
  const auto* module = plan_.module(name);
  if (module == nullptr) fail("node '{}' has no module '{}'", document_.node, name);
  ExecRequest exec;
  exec.spawn = script_request(*module, text(request, "script", ""), env_, paths_);
  add_environment(request, exec.spawn.env);
  add_terminal(request, exec);
  serve_exec(loop_, std::move(connection), std::move(exec));
}

// One at a time; who asks meanwhile hears when it is over, too.
void Agent::serve_drain(std::shared_ptr<Connection> connection, std::chrono::seconds at_most) {
  connection->set_handlers({nullptr, [](const Frame&) {}, nullptr, nullptr});
  drain_waiters_.push_back(std::move(connection));
  drain(at_most);
}

void Agent::drain(std::chrono::seconds at_most) {
  if (std::exchange(draining_, true)) return;
  auto env = env_;
  env["KILN_DRAIN_SECONDS"] = std::to_string(at_most.count());
  drain_failure_.clear();
  drain_ = std::make_unique<ScriptRun>(
      ScriptRun::Context{loop_, events_, paths_, plan_, env, document_.secret}, "drain.sh",
      [this](const std::string&, const std::string& why) {
        if (drain_failure_.empty()) drain_failure_ = why;
      },
      [this] {
        draining_ = false;
        if (!leaving_.empty())
          events_.message("spot notice", drain_failure_.empty() ? "drained: nothing runs here any more" : drain_failure_,
                          drain_failure_.empty());
        const Json answer = drain_failure_.empty() ? Json{{"done", true}} : Json{{"error", drain_failure_}};
        for (const auto& waiter : std::exchange(drain_waiters_, {})) {
          if (waiter->is_closed()) continue;
          waiter->send(answer);
          waiter->close_after_sending();
        }
      });
  drain_->start();
}

void Agent::serve_logs_request(std::shared_ptr<Connection> connection, const Json& request) {
  const std::string wanted = text(request, "service", "");
  std::vector<LogSource> all, chosen;
  for (const auto& service : supervisor_->services())
    if (service->planned().here) all.push_back({service->planned().name, &service->log()});
  if (preparation_)
    for (const auto& [name, log] : preparation_->logs()) all.push_back({name, log.get()});
  for (const auto* scripts : {setup_.get(), applications_.get(), drain_.get()})
    if (scripts != nullptr)
      for (const auto& [name, log] : scripts->logs()) all.push_back({name, log.get()});
  for (const auto& source : all)
    if (wanted.empty() || source.name == wanted) chosen.push_back(source);
  if (chosen.empty() && !wanted.empty()) {
    std::vector<std::string> names;
    for (const auto& source : all) names.push_back(source.name);
    Error error(fmt::format("no service '{}' on node '{}'", wanted, document_.node));
    if (const auto near = nearest(wanted, names)) {
      error.set_hint("did you mean '" + *near + "'?");
    } else {
      error.set_hint("it has: " + join(names, ", "));
    }
    throw error;
  }
  const auto lines = static_cast<std::size_t>(std::clamp<std::int64_t>(number(request, "lines", 100), 0, 1 << 30));
  serve_logs(loop_, std::move(connection), std::move(chosen), wanted.empty(), lines, flag(request, "follow"));
}

}  // namespace kiln::node
