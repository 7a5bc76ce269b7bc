#include "cluster/watch.h"

#include <poll.h>

#include "base/activity.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/strings.h"

namespace kiln::cluster {

namespace {

// How often the provider is asked whether the machines still run, while no event comes: dead machines tell nobody.
constexpr int kMachineCheckMs = 1000;

void check_machines(Session& session, const std::set<std::string>& nodes) {
  session.refresh();
  for (const auto& node : session.cluster().nodes) {
    if (nodes.count(node.name) != 0 && !node.running) {
      const std::string why = session.provider().explain(session.cluster().name, node.name);
      Error error(fmt::format("node {} of cluster '{}' ended{}", node.name, session.cluster().name, why.empty() ? "" : ": " + why));
      error.set_hint("launch with --keep and look at `kiln logs` to see why");
      throw error;
    }
  }
}

// The event that says that a wait is pointless.
void throw_if_fatal(const Event& event, const std::set<std::string>& nodes, bool has_spoken) {
  if (event.ok || nodes.count(event.node) == 0) return;
  const bool setup = event.kind == Event::Kind::kEnd && event.name.starts_with("setup ");
  const bool service = event.kind == Event::Kind::kEnd && event.name.starts_with("service ");
  const bool node = event.name.starts_with("node ");
  if (!setup && !service && !node) return;
  std::string lines;
  for (const auto& line : split(event.text, '\n')) lines += "\n    " + line;
  // Of a node that was there before, under the same name, the masters may notice only now that it is lost.
  if (node && event.text == "lost" && !has_spoken) return;
  fail("{} failed on {}{}", event.name, event.node, event.text.empty() ? "" : ":" + lines);
}

}  // namespace

double time_there(Session& session) {
  const Json status = session.ask({{"do", "status"}});
  return status.value("time", 0.0);
}

void wait_until_ready(Session& session, std::set<std::string> nodes, double since) {
  std::set<std::string> spoken;
  auto channel = session.request({{"do", "events"}, {"from", 0}}, session.provider().boot_time());
  while (!nodes.empty()) {
    if (!channel.has_buffered_frame()) {
      pollfd polled[] = {{channel.fd(), POLLIN, 0}, {interrupt_fd(), POLLIN, 0}};
      const int ready = ::poll(polled, 2, kMachineCheckMs);
      throw_if_interrupted();
      if (ready <= 0) {
        if (ready == 0) check_machines(session, nodes);
        continue;
      }
    }
    const auto frame = channel.receive();
    if (!frame) {
      check_machines(session, nodes);
      fail("the first master's agent of cluster '{}' closed the event stream", session.cluster().name);
    }
    const Json message = frame->json();
    throw_if_error(message);
    const Event event = Event::from_json(message);
    if (event.time < since || event.node.empty()) continue;
    publish(event);
    throw_if_fatal(event, nodes, spoken.count(event.node) != 0);
    spoken.insert(event.node);
    if (event.kind == Event::Kind::kEnd && event.ok && event.name == "node " + event.node) nodes.erase(event.node);
  }
}

}  // namespace kiln::cluster
