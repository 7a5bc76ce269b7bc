#include "cluster/history.h"

namespace kiln::cluster {

std::vector<Event> messages_since(Session& session, double since) {
  std::vector<Event> messages;
  if (session.cluster().state != provider::State::kRunning) return messages;
  auto channel = session.request({{"do", "events"}, {"from", 0}, {"so_far", true}});
  while (const auto frame = channel.receive()) {
    const Json json = frame->json();
    throw_if_error(json);
    Event event = Event::from_json(json);
    if (event.kind == Event::Kind::kMessage && event.time > since) messages.push_back(std::move(event));
  }
  return messages;
}

}  // namespace kiln::cluster
