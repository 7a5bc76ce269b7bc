#include "node/report.h"

#include <algorithm>

#include "base/error.h"
#include "node/master.h"
#include "node/readiness.h"

namespace kiln::node {

namespace {
constexpr std::chrono::milliseconds kLongestPause{1000};
}

Reporter::Reporter(Loop& loop, const config::NodeDocument& document, std::string boot, config::NodeEntry master, NodeEvents& events,
                   Hooks hooks)
    : loop_(loop), document_(document), boot_(std::move(boot)), master_(std::move(master)), events_(events), hooks_(std::move(hooks)) {
  listener_ = events_.log().listen([this] { pump_events(); });
}

Reporter::~Reporter() {
  loop_.cancel(retry_timer_);
  loop_.cancel(attempt_timer_);
  events_.log().drop(listener_);
  if (connection_) connection_->close();
}

void Reporter::connect() {
  retry_timer_ = 0;
  Fd socket = start_connect(master_.address, document_.channel_port);
  if (!socket) return retry();
  connection_ = Connection::make(loop_, std::move(socket), Handshake(Handshake::Side::kClient, document_.secret));
  connection_->give_up_unread();
  // A first packet lost (its network was not up yet) is sent again by the kernel after a whole second: ask anew before that.
  attempt_timer_ = loop_.after(std::max(std::chrono::milliseconds(200), 4 * pause_), [this] {
    attempt_timer_ = 0;
    connection_->close();
    retry();
  });
  connection_->start({[this] {
                        loop_.cancel(attempt_timer_);
                        attempt_timer_ = 0;
                        connection_->send(Json{{"do", "report"},
                                               {"node", document_.node},
                                               {"role", document_.role},
                                               {"address", document_.address},
                                               {"cpus", document_.cpus},
                                               {"memory_bytes", document_.memory_bytes},
                                               {"boot", boot_}});
                      },
                      [this](const Frame& frame) { take(frame); },
                      [this](const std::string& why) {
                        // Not being there yet is normal; being refused is what somebody will want to read.
                        if (why != "cannot connect" && why != last_trouble_)
                          fmt::print(stderr, "kiln-node: connection to '{}': {}\n", master_.name, why);
                        last_trouble_ = why;
                        loop_.cancel(attempt_timer_);
                        attempt_timer_ = 0;
                        retry();
                      },
                      [this] { pump_events(); }});
}

void Reporter::retry() {
  connection_.reset();
  told_have_ = false;
  retry_timer_ = loop_.after(pause_, [this] { connect(); });
  pause_ = std::min(pause_ * 2, kLongestPause);
}

void Reporter::take(const Frame& frame) {
  const Json message = frame.json();
  if (const auto have = message.find("have"); have != message.end() && have->is_number_unsigned()) {
    pause_ = std::chrono::milliseconds(10);
    told_have_ = true;
    next_event_ = std::max(have->get<std::uint64_t>() + 1, events_.log().first_number());
    services_changed();
    pump_events();
  }
  if (const auto ready = message.find("ready"); ready != message.end() && ready->is_array()) {
    std::set<std::string> names;
    for (const auto& name : *ready)
      if (name.is_string()) names.insert(name.get<std::string>());
    hooks_.on_ready(std::move(names));
  }
  if (const auto nodes = message.find("nodes"); nodes != message.end()) {
    hooks_.on_roster(roster_from_json(*nodes));
    connection_->send(Json{{"roster", message.value("version", 0)}});
  }
  if (const auto lease = message.find("lease"); lease != message.end()) hooks_.on_lease(lease_from_json(*lease));
  if (const auto stop = message.find("stop"); stop != message.end() && stop->is_object()) {
    std::optional<std::chrono::milliseconds> at_most;
    if (const auto seconds = stop->find("timeout"); seconds != stop->end() && seconds->is_number())
      at_most = std::chrono::milliseconds(static_cast<std::int64_t>(std::clamp(seconds->get<double>(), 0.0, 86400.0) * 1000));
    hooks_.stop(at_most, stop->value("end", false), [this, alive = std::weak_ptr<int>(alive_)] {
      if (alive.expired() || !connection_ || !told_have_) return;
      services_changed();
      connection_->send(Json{{"stopped", true}});
    });
  }
}

void Reporter::services_changed() {
  if (!connection_ || !told_have_) return;
  Json message = {{"services", hooks_.services()}};
  if (const auto leaving = hooks_.leaving(); !leaving.empty()) message["leaving"] = leaving;
  connection_->send(message);
}

void Reporter::tell_busy(const std::string& what) {
  if (is_connected()) connection_->send(Json{{"busy", what}});
}

void Reporter::pump_events() {
  if (!connection_ || !told_have_) return;
  next_event_ = std::max(next_event_, events_.log().first_number());
  while (!connection_->is_full() && next_event_ < events_.log().next_number()) {
    const auto* entry = events_.log().find(next_event_);
    // Put together by hand: the entry is JSON already.
    connection_->send('J', fmt::format("{{\"number\":{},\"event\":{}}}", next_event_, *entry));
    ++next_event_;
  }
}

}  // namespace kiln::node
