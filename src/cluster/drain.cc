#include "cluster/drain.h"

#include "base/activity.h"
#include "base/error.h"
#include "base/parallel.h"

namespace kiln::cluster {

namespace {

// Each is a thread that waits and a stream to the master's agent.
constexpr std::size_t kAtOnce = 64;
// Beyond the scripts' own limit: a connection to the node and the script's start.
constexpr std::chrono::seconds kSlack{15};

}  // namespace

void drain(Session& session, const std::vector<std::string>& nodes, std::chrono::seconds at_most) {
  if (nodes.empty() || at_most.count() <= 0) return;
  std::vector<Channel> channels;
  for (const auto& node : nodes) channels.push_back(session.request({{"do", "drain"}, {"node", node}, {"seconds", at_most.count()}}));
  parallel_for(nodes.size(), kAtOnce, [&](std::size_t i) {
    Activity activity("drain " + nodes[i]);
    try {
      const auto frame = channels[i].receive(at_most + kSlack);
      if (!frame) fail("its agent closed the connection");
      throw_if_error(frame->json());
    } catch (const Interrupted&) {
      throw;
    } catch (const Error& error) {
      say(fmt::format("{} leaves as it is, what ran there runs again elsewhere: {}", nodes[i], error.message()));
    }
  });
}

}  // namespace kiln::cluster
