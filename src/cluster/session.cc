#include "cluster/session.h"

#include <algorithm>
#include <chrono>

#include "base/activity.h"
#include "base/error.h"
#include "base/strings.h"

namespace kiln::cluster {

namespace {

// The first is where commands go: one that was lost shall not be it.
std::vector<std::string> names_with_role(const provider::Cluster& cluster, std::string_view role) {
  std::vector<std::string> names;
  for (const bool running : {true, false}) {
    for (const auto& node : cluster.nodes) {
      if (node.role == role && node.running == running) names.push_back(node.name);
    }
  }
  return names;
}

}  // namespace

void throw_if_error(const Json& answer) {
  if (!answer.contains("error")) return;
  Error error(answer.value("error", "the agent failed"));
  error.set_hint(answer.value("hint", ""));
  throw error;
}

std::vector<provider::Cluster> list_clusters() {
  std::vector<provider::Cluster> clusters;
  for (const auto& entry : provider::providers()) {
    try {
      for (auto& cluster : entry.make()->list()) clusters.push_back(std::move(cluster));
    } catch (const Interrupted&) {
      throw;
    } catch (const Error& error) {
      // Those elsewhere can be seen all the same.
      say(fmt::format("clusters of provider '{}' are not shown: {}", entry.name, error.message()));
    }
  }
  std::sort(clusters.begin(), clusters.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return clusters;
}

Session Session::open(const std::string& name) {
  config::check_cluster_name(name);
  for (const auto& entry : provider::providers()) {
    auto provider = entry.make();
    auto cluster =
        with_context(fmt::format("looking for cluster '{}' of provider '{}'", name, entry.name), [&] { return provider->find(name); });
    if (cluster) return Session(std::move(provider), std::move(*cluster));
  }
  std::vector<std::string> names;
  for (const auto& cluster : list_clusters()) names.push_back(cluster.name);
  UsageError error(fmt::format("there is no cluster '{}'", name));
  if (const auto near = nearest(name, names)) {
    error.set_hint(fmt::format("did you mean '{}'?", *near));
  } else {
    error.set_hint(names.empty() ? fmt::format("`kiln launch {}` makes one", name) : fmt::format("there are: {}", join(names, ", ")));
  }
  throw error;
}

Session Session::open_running(const std::string& name) {
  Session session = open(name);
  const auto state = session.cluster_.state;
  if (state == provider::State::kRunning) return session;
  Error error(fmt::format("cluster '{}' is {}", name, provider::state_name(state)));
  if (state == provider::State::kCreating) {
    error.set_hint("its launch is still going on");
  } else {
    error.set_hint(fmt::format("`kiln start {0}` starts it again, `kiln destroy {0}` removes it", name));
  }
  throw error;
}

void Session::refresh() {
  if (auto cluster = provider_->find(cluster_.name)) cluster_ = std::move(*cluster);
}

std::vector<std::string> Session::masters() const { return names_with_role(cluster_, "master"); }
std::vector<std::string> Session::workers() const { return names_with_role(cluster_, "worker"); }

const provider::Node& Session::node(const std::string& name) const {
  std::vector<std::string> names;
  // "master" is what people type when there is one.
  if (const auto all = masters(); name == "master" && !all.empty()) return node(all.front());
  for (const auto& node : cluster_.nodes) {
    if (node.name == name) return node;
    names.push_back(node.name);
  }
  UsageError error(fmt::format("cluster '{}' has no node '{}'", cluster_.name, name));
  const auto near = nearest(name, names);
  error.set_hint(near ? fmt::format("did you mean '{}'?", *near) : fmt::format("it has: {}", join(names, ", ")));
  throw error;
}

Channel Session::request(const Json& request, std::chrono::milliseconds patience) {
  const auto all = masters();
  if (all.empty()) fail("cluster '{}' has no master", cluster_.name);
  for (const auto& master : all) {
    try {
      auto channel =
          Channel::as_client(provider_->connect(cluster_.name, master, config::kChannelPort, patience), cluster_.secret, kConnectTime);
      channel.send(request);
      return channel;
    } catch (const Interrupted&) {
      throw;
    } catch (const Error& error) {
      if (master == all.back()) throw;  // a standby may speak for the cluster when the first master is down
    }
  }
  fail("no master of cluster '{}' answers", cluster_.name);
}

Json Session::ask(const Json& request) {
  auto channel = this->request(request);
  const auto frame = channel.receive();
  if (!frame) fail("the agent of cluster '{}' closed the connection without an answer", cluster_.name);
  Json answer = frame->json();
  throw_if_error(answer);
  return answer;
}

std::vector<bake::ImageModule> Session::modules() const {
  std::vector<bake::ImageModule> modules;
  const auto found = cluster_.notes.find("modules");
  if (found == cluster_.notes.end()) return modules;
  for (const auto& entry : *found) {
    modules.push_back({config::module_from_json(entry.at("manifest")), entry.at("params").get<config::Values>()});
  }
  return modules;
}

}  // namespace kiln::cluster
