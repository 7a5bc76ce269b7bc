// For unit tests: a provider whose machines are records in memory and whose agents are a script of events. It logs its calls, and can fail
// at the n-th of them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/activity.h"
#include "provider/provider.h"

namespace kiln::cluster::testing {

struct FakeWorld {
  std::map<std::string, provider::Cluster> clusters;
  std::vector<std::string> calls;
  int fail_at = -1;  // index into the calls that may fail
  int may_fail = 0;
  // What the first master's agent sends to whoever asks for events.
  std::vector<Event> events;
  bool close_after_events = false;
  std::vector<Json> requests;  // what the agent was asked
  double clock_offset = 0;     // seconds by which its clock is ahead of the launcher's
};

FakeWorld& fake_world();
// For a thread beside the one that calls.
std::size_t count_calls();
// A world without clusters, in which every node of the next launch gets ready.
void reset_fake_world();
Event node_ready(const std::string& node);
Event node_lost(const std::string& node);
Event service_failed(const std::string& node, const std::string& service, const std::string& lines);

}  // namespace kiln::cluster::testing
