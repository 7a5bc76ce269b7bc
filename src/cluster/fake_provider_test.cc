#include "cluster/fake_provider.h"

#include <sys/socket.h>

#include <mutex>
#include <thread>

#include "base/channel.h"
#include "base/error.h"

namespace kiln::cluster::testing {

namespace {

std::mutex world_lock;

class FakeProvider : public provider::Provider {
 public:
  std::vector<provider::Cluster> list() override {
    std::vector<provider::Cluster> all;
    for (const auto& [name, cluster] : fake_world().clusters) all.push_back(cluster);
    return all;
  }
  std::optional<provider::Cluster> find(const std::string& name) override {
    const auto found = fake_world().clusters.find(name);
    return found == fake_world().clusters.end() ? std::nullopt : std::optional(found->second);
  }
  provider::Cluster create(const provider::CreateRequest& request) override {
    call("create " + request.cluster.name);
    provider::Cluster cluster = request.cluster;
    cluster.state = provider::State::kCreating;
    for (const auto& node : request.nodes) cluster.nodes.push_back(machine(node, cluster.nodes.size()));
    for (const auto& node : cluster.nodes) request.document(node, cluster.nodes);
    return fake_world().clusters[cluster.name] = cluster;
  }
  void commit(const std::string& name, const Json& notes) override {
    call("commit " + name);
    auto& cluster = fake_world().clusters.at(name);
    cluster.notes = notes;
    cluster.state = provider::State::kRunning;
  }
  std::vector<provider::Node> add_nodes(const std::string& name, const std::vector<provider::NodeRequest>& nodes,
                                        const provider::CreateRequest&) override {
    auto& cluster = fake_world().clusters.at(name);
    std::vector<provider::Node> added;
    std::string words = "add_nodes";
    for (const auto& node : nodes) {
      added.push_back(machine(node, cluster.nodes.size()));
      cluster.nodes.push_back(added.back());
      words += " " + node.name;
    }
    call(words);
    return added;
  }
  void remove_nodes(const std::string& name, const std::vector<std::string>& nodes) override {
    std::string words = "remove_nodes";
    for (const auto& node : nodes) {
      words += " " + node;
      std::erase_if(fake_world().clusters.at(name).nodes, [&](const auto& present) { return present.name == node; });
    }
    call(words);
  }
  Fd connect(const std::string&, const std::string& node, int, std::chrono::milliseconds) override {
    call("connect " + node);
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) fail("no socket");
    const std::string secret = fake_world().clusters.begin()->second.secret;
    // The agent's side ends by itself when the client closes.
    std::thread([end = ends[1], secret] { serve(Fd(end), secret); }).detach();
    return Fd(ends[0]);
  }
  std::string forward(const std::string&, const std::string& node, int port) override {
    return "127.0.0.1:" + std::to_string(port) + "/" + node;
  }
  void stop(const std::string& name) override {
    call("stop " + name);
    auto& cluster = fake_world().clusters.at(name);
    cluster.state = provider::State::kStopped;
    for (auto& node : cluster.nodes) node.running = false;
  }
  provider::Cluster start(const std::string& name, const provider::CreateRequest&) override {
    call("start " + name);
    auto& cluster = fake_world().clusters.at(name);
    cluster.state = provider::State::kRunning;
    for (auto& node : cluster.nodes) node.running = true;
    return cluster;
  }
  void destroy(const std::string& name) override {
    log("destroy " + name);
    fake_world().clusters.erase(name);
  }
  std::vector<provider::Leftover> collect_garbage(bool) override { return {}; }

 private:
  static provider::Node machine(const provider::NodeRequest& node, std::size_t index) {
    return {node.name, node.role, "10.0.0." + std::to_string(index + 2), node.resources, true};
  }
  static void log(const std::string& words) {
    const std::lock_guard guard(world_lock);
    fake_world().calls.push_back(words);
  }
  static void call(const std::string& words) {
    auto& world = fake_world();
    log(words);
    if (world.may_fail++ == world.fail_at) fail("injected fault at '{}'", words);
  }
  static void serve(Fd socket, const std::string& secret) {
    try {
      auto channel = Channel::as_server(std::move(socket), secret, std::chrono::seconds(5));
      const auto frame = channel.receive(std::chrono::seconds(5));
      if (!frame) return;
      const Json request = frame->json();
      std::vector<Event> events;
      bool close = false;
      double now = now_in_seconds();
      {
        const std::lock_guard guard(world_lock);
        fake_world().requests.push_back(request);
        events = fake_world().events;
        close = fake_world().close_after_events;
        now += fake_world().clock_offset;
      }
      if (request.at("do") != "events") {
        channel.send(Json{{"done", true}, {"time", now}});
        return;
      }
      for (auto& event : events) {
        if (event.time == 0) event.time = now;
        channel.send(event.to_json());
      }
      if (!close) channel.receive(std::chrono::seconds(10));  // until the client has seen enough
    } catch (const Error&) {
      // The client left.
    }
  }
};

const provider::RegisterProvider registration("fake", "machines in memory", provider::Reach::kHere,
                                              [] { return std::make_unique<FakeProvider>(); });

}  // namespace

FakeWorld& fake_world() {
  static FakeWorld world;
  return world;
}

std::size_t count_calls() {
  const std::lock_guard guard(world_lock);
  return fake_world().calls.size();
}

void reset_fake_world() {
  const std::lock_guard guard(world_lock);
  fake_world() = FakeWorld{};
  for (const char* node : {"master-1", "worker-1", "worker-2", "worker-3", "worker-4"}) fake_world().events.push_back(node_ready(node));
}

Event node_ready(const std::string& node) {
  Event event;
  event.kind = Event::Kind::kEnd;
  event.id = 1;
  event.node = node;
  event.name = "node " + node;
  return event;
}

Event node_lost(const std::string& node) {
  Event event;
  event.node = node;
  event.name = "node " + node;
  event.ok = false;
  event.text = "lost";
  return event;
}

Event service_failed(const std::string& node, const std::string& service, const std::string& lines) {
  Event event;
  event.kind = Event::Kind::kEnd;
  event.id = 2;
  event.node = node;
  event.name = "service " + service;
  event.ok = false;
  event.text = lines;
  return event;
}

}  // namespace kiln::cluster::testing
