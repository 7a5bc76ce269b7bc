#include "node/master.h"

#include <algorithm>

#include "base/error.h"
#include "node/hosts.h"

namespace kiln::node {

namespace {

// A reconnecting agent is back within a second or so; three mean that it is gone.
constexpr std::chrono::milliseconds kGrace{3000};

std::string text(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_string()) fail("member '{}' is missing or no text", name);
  return found->get<std::string>();
}

template <class T>
T number(const Json& json, const char* name, T fallback) {
  const auto found = json.find(name);
  return found != json.end() && found->is_number() ? found->get<T>() : fallback;
}

}  // namespace

Json roster_to_json(const std::vector<config::NodeEntry>& nodes) {
  Json all = Json::array();
  for (const auto& node : nodes) {
    if (node.address.empty()) continue;  // a master that has not reported yet
    all.push_back({{"name", node.name}, {"role", node.role}, {"address", node.address}});
  }
  return all;
}

std::vector<config::NodeEntry> roster_from_json(const Json& json) {
  if (!json.is_array()) throw Error("'nodes' is no list");
  std::vector<config::NodeEntry> nodes;
  for (const auto& node : json) {
    if (!node.is_object()) throw Error("a node is no object");
    nodes.push_back({text(node, "name"), text(node, "role"), text(node, "address")});
    // It goes into /etc/hosts: no line of another's making.
    for (const auto* word : {&nodes.back().name, &nodes.back().address})
      if (word->empty() || word->find_first_of(" \t\r\n#") != std::string::npos) fail("'{}' is no name or address of a node", *word);
  }
  return nodes;
}

Master::Master(Loop& loop, const config::NodeDocument& document, const Plan& plan, NodeEvents& own_events, Hooks hooks)
    : loop_(loop), document_(document), plan_(plan), own_events_(own_events), hooks_(std::move(hooks)), roster_(document.nodes) {
  for (const auto& node : roster_) nodes_[node.name].entry = node;
  auto& state = own();
  state.entry = {document.node, document.role, document.address};
  state.there = true;
  state.cpus = document.cpus;
  state.memory_bytes = document.memory_bytes;
  own_events_.log().listen([this] { merge_own(); });
  merge_own();
}

bool Master::is_first_master() const {
  const auto* first = first_master(roster_);
  return first == nullptr || first->name == document_.node;
}

void Master::merge_own() {
  while (merged_own_ + 1 < own_events_.log().next_number()) {
    ++merged_own_;
    if (const auto* entry = own_events_.log().find(merged_own_))
      log_.add(fmt::format("{{\"seq\":{},{}", log_.next_number(), entry->substr(1)));
  }
}

void Master::merge(const std::string& node, Event event) {
  event.node = node;  // whatever it calls itself
  Json json = event.to_json();
  json["seq"] = log_.next_number();
  log_.add(json_payload(json));
}

void Master::serve_events(std::shared_ptr<Connection> connection, std::uint64_t from, bool so_far) {
  struct Reader {
    std::uint64_t next, end;
    int listener = 0;
  };
  auto reader = std::make_shared<Reader>(Reader{std::max(from, log_.first_number()), so_far ? log_.next_number() : UINT64_MAX});
  const auto pump = [this, connection, reader] {
    if (connection->is_closed()) return;
    while (!connection->is_full() && reader->next < std::min(reader->end, log_.next_number())) {
      const auto* entry = log_.find(reader->next);
      if (entry == nullptr) {
        connection->send_error("events were lost: they are kept for a while only, and this reader was too slow");
        return;
      }
      ++reader->next;
      connection->send('J', *entry);
    }
    if (reader->next < reader->end) return;
    log_.drop(reader->listener);
    connection->close_after_sending();
  };
  if (!so_far) reader->listener = log_.listen(pump);
  connection->set_handlers({nullptr, [](const Frame&) {}, [this, reader](const std::string&) { log_.drop(reader->listener); }, pump});
  pump();
}

void Master::serve_status(std::shared_ptr<Connection> connection) {
  Json all = Json::array();
  for (auto& [name, state] : nodes_) {
    if (name == document_.node || state.connection) state.last_seen = now_in_seconds();
    all.push_back({{"name", name},
                   {"role", state.entry.role},
                   {"address", state.entry.address},
                   {"connected", state.there},
                   {"last_seen", state.last_seen},
                   {"cpus", state.cpus},
                   {"memory_bytes", state.memory_bytes},
                   {"services", state.services}});
    if (!state.leaving.empty()) all.back()["leaving"] = state.leaving;
  }
  connection->send(Json{{"cluster", document_.cluster}, {"time", now_in_seconds()}, {"nodes", std::move(all)}});
  connection->close_after_sending();
}

void Master::serve_report(std::shared_ptr<Connection> connection, const Json& request) {
  const config::NodeEntry entry = roster_from_json(
      Json::array({{{"name", text(request, "node")}, {"role", text(request, "role")}, {"address", text(request, "address")}}}))[0];
  if (entry.name == document_.node) throw Error("there is a node of that name: this one");
  const auto known = std::find_if(roster_.begin(), roster_.end(), [&](const auto& node) { return node.name == entry.name; });
  auto& state = nodes_[entry.name];
  const bool was_lost = !state.there && state.last_seen > 0;
  // A second connection of the same node: the first is a half-open one.
  if (state.connection) state.connection->close();
  loop_.cancel(state.lost_timer);
  state.lost_timer = 0;
  state.entry = entry;
  state.connection = connection;
  state.there = true;
  state.stopped = false;
  state.last_seen = now_in_seconds();
  state.cpus = number(request, "cpus", 0.0);
  state.memory_bytes = number<std::int64_t>(request, "memory_bytes", 0);
  if (const auto boot = text(request, "boot"); boot != state.boot) {
    state.boot = boot;
    state.next_event = 1;
  }
  const std::string name = entry.name;
  connection->set_handlers({nullptr,
                            [this, name, raw = connection.get()](const Frame& frame) {
                              const auto found = nodes_.find(name);
                              if (found != nodes_.end() && found->second.connection.get() == raw) take_report_frame(name, frame);
                            },
                            [this, name, raw = connection.get()](const std::string&) { lost_connection(name, raw); }, nullptr});
  told_ready_ = cluster_ready();
  Json greeting = {{"have", state.next_event - 1}, {"ready", told_ready_}};
  if (lease_) greeting["lease"] = lease_to_json(*lease_);
  connection->send(greeting);
  if (was_lost) {
    Event event;
    event.name = "node " + name;
    event.text = "back";
    event.time = now_in_seconds();
    merge(name, event);
  }
  if (known == roster_.end()) {
    auto nodes = roster_;
    nodes.push_back(entry);
    set_roster(std::move(nodes));
  } else if (!(*known == entry)) {
    *known = entry;
    set_roster(roster_);
  } else {
    tell_roster(state);
  }
  if (stop_) connection->send(Json{{"stop", {{"end", stop_->end}}}});
}

void Master::take_report_frame(const std::string& node, const Frame& frame) {
  auto& state = nodes_[node];
  const Json message = frame.json();
  state.last_seen = now_in_seconds();
  if (const auto event = message.find("event"); event != message.end()) {
    const auto at = number<std::uint64_t>(message, "number", 0);
    if (at < state.next_event) return;  // sent again after a broken connection
    state.next_event = at + 1;
    merge(node, Event::from_json(*event));
  } else if (const auto services = message.find("services"); services != message.end()) {
    state.leaving = message.contains("leaving") ? text(message, "leaving") : std::string();
    set_services(state, *services);
  } else if (message.contains("roster")) {
    state.roster_version = number<std::uint64_t>(message, "roster", 0);
    answer_waiters();
  } else if (message.contains("busy")) {
    hooks_.on_busy();
  } else if (message.contains("stopped")) {
    state.stopped = true;
    advance_stop();
  }
}

void Master::set_services(NodeState& state, Json services) {
  if (!services.is_array()) throw Error("'services' is no list");
  std::set<std::string> ready;
  bool settled = true;
  for (const auto& service : services) {
    const auto service_state = text(service, "state");
    // A service that ended as it should counts: "stopped" is told with its reason, and a stopped node is not asked.
    if (service_state == "ready") {
      ready.insert(text(service, "name"));
    } else if (service_state != "off" && service_state != "stopped") {
      settled = false;
    }
  }
  state.services = std::move(services);
  state.settled = settled;
  state.ready = std::move(ready);
  tell_ready();
  hooks_.on_change();
}

void Master::set_lease(const Lease& lease) {
  lease_ = lease;
  for (const auto& [name, state] : nodes_) {
    if (state.connection) state.connection->send(Json{{"lease", lease_to_json(lease)}});
  }
}

void Master::set_own_services(Json services, const std::string& leaving) {
  own().leaving = leaving;
  set_services(own(), std::move(services));
}

std::set<std::string> Master::cluster_ready() const {
  std::set<std::string> ready;
  // The first master that is not known to be gone speaks for services of masters.
  const auto* first = first_master(roster_);
  for (const auto& node : roster_) {
    const auto found = nodes_.find(node.name);
    if (node.role != "master" || found == nodes_.end() || (!found->second.there && found->second.last_seen > 0)) continue;
    first = &node;
    break;
  }
  for (const auto& service : plan_.services) {
    for (const auto& [name, state] : nodes_) {
      if (!state.there || (service.spec.on == "master" && first != nullptr && first->name != name)) continue;
      if (state.ready.count(service.name) != 0) {
        ready.insert(service.name);
        break;
      }
    }
  }
  return ready;
}

void Master::tell_ready() {
  auto ready = cluster_ready();
  if (ready == told_ready_) return;
  told_ready_ = std::move(ready);
  for (auto& [name, state] : nodes_)
    if (state.connection) state.connection->send(Json{{"ready", told_ready_}});
  hooks_.on_ready(told_ready_);
}

bool Master::everything_is_ready() const {
  return std::all_of(roster_.begin(), roster_.end(), [&](const auto& node) {
    const auto found = nodes_.find(node.name);
    return found != nodes_.end() && found->second.there && found->second.settled;
  });
}

void Master::lost_connection(const std::string& node, const Connection* connection) {
  const auto found = nodes_.find(node);
  if (found == nodes_.end() || found->second.connection.get() != connection) return;
  auto& state = found->second;
  state.connection.reset();
  state.last_seen = now_in_seconds();
  state.lost_timer = loop_.after(kGrace, [this, node] {
    const auto again = nodes_.find(node);
    if (again == nodes_.end()) return;
    again->second.lost_timer = 0;
    again->second.there = false;
    again->second.ready.clear();
    hooks_.on_lost(node);
    // A node that was told to stop goes away as it should.
    if (!stop_) {
      Event event;
      event.name = "node " + node;
      event.text = "lost";
      event.ok = false;
      event.time = now_in_seconds();
      merge(node, event);
    }
    tell_ready();
  });
  answer_waiters();
  advance_stop();
}

void Master::set_roster(std::vector<config::NodeEntry> nodes) {
  roster_ = std::move(nodes);
  ++roster_version_;
  for (auto it = nodes_.begin(); it != nodes_.end();) {
    const bool keep = it->first == document_.node ||
                      std::any_of(roster_.begin(), roster_.end(), [&](const auto& node) { return node.name == it->first; });
    if (!keep) {
      if (it->second.connection) it->second.connection->close();
      loop_.cancel(it->second.lost_timer);
    }
    it = keep ? std::next(it) : nodes_.erase(it);
  }
  for (const auto& node : roster_) nodes_[node.name].entry = node;
  for (auto& [name, state] : nodes_) tell_roster(state);
  hooks_.on_roster(roster_);
  tell_ready();
}

void Master::tell_roster(NodeState& state) {
  if (state.connection) state.connection->send(Json{{"nodes", roster_to_json(roster_)}, {"version", roster_version_}});
}

void Master::serve_nodes(std::shared_ptr<Connection> connection, std::vector<config::NodeEntry> nodes) {
  if (std::none_of(nodes.begin(), nodes.end(), [&](const auto& node) { return node.name == document_.node; }))
    fail("the list of nodes lacks '{}', which was asked", document_.node);
  set_roster(std::move(nodes));
  // An agent that can't say within 10 s that it has written a file hangs; the launcher shall not with it.
  const auto timer = loop_.after(std::chrono::seconds(10),
                                 [connection] { connection->send_error("not all agents took over the list of nodes within 10 s"); });
  waiters_.push_back({connection, roster_version_, timer});
  connection->set_handlers({nullptr, [](const Frame&) {}, nullptr, nullptr});
  answer_waiters();
}

void Master::answer_waiters() {
  std::erase_if(waiters_, [&](const Waiter& waiter) {
    if (!waiter.connection->is_closed()) {
      for (const auto& [name, state] : nodes_)
        if (state.connection && state.roster_version < waiter.version) return false;
      waiter.connection->send(Json{{"done", true}});
      waiter.connection->close_after_sending();
    }
    loop_.cancel(waiter.timer);
    return true;
  });
}

void Master::serve_stop(std::shared_ptr<Connection> connection, std::optional<std::chrono::milliseconds> at_most) {
  connection->set_handlers({nullptr, [](const Frame&) {}, nullptr, nullptr});
  stop_cluster(at_most, false, [connection] {
    connection->send(Json{{"done", true}});
    connection->close_after_sending();
  });
}

void Master::stop_cluster(std::optional<std::chrono::milliseconds> at_most, bool end, std::function<void()> done) {
  if (stop_) {
    // Another asks for the same: it hears of the same end.
    stop_->end = stop_->end || end;
    stop_->done.push_back(std::move(done));
    advance_stop();
    return;
  }
  stop_ = Stop{at_most, end, {std::move(done)}, -1, 0};
  advance_stop();
}

void Master::advance_stop() {
  if (!stop_) return;
  const auto in_phase = [&](const NodeState& state) {
    return state.entry.name != document_.node && state.connection && (state.entry.role == "master") == (stop_->phase == 1);
  };
  while (stop_->phase < 2) {
    // The order goes out once when a phase begins; later calls find it begun and look who has obeyed.
    if (stop_->phase >= 0 &&
        std::any_of(nodes_.begin(), nodes_.end(), [&](const auto& node) { return in_phase(node.second) && !node.second.stopped; }))
      return;
    loop_.cancel(stop_->timer);
    if (++stop_->phase == 2) break;
    Json order{{"end", stop_->end}};
    if (stop_->at_most) order["timeout"] = std::chrono::duration<double>(*stop_->at_most).count();
    for (auto& [name, state] : nodes_)
      if (in_phase(state)) state.connection->send(Json{{"stop", order}});
    // Each service is killed after its time, in a chain of at most a few that wait for each other; who takes a minute hangs.
    stop_->timer = loop_.after(std::chrono::seconds(60), [this] {
      for (auto& [name, state] : nodes_) state.stopped = true;
      advance_stop();
    });
  }
  if (stop_->phase == 2) {
    stop_->phase = 3;
    hooks_.stop_own(stop_->at_most, [this] {
      stop_->phase = 4;
      advance_stop();
    });
    return;
  }
  if (stop_->phase == 4)
    for (const auto& done : std::exchange(stop_->done, {})) done();
}

}  // namespace kiln::node
