// A running cluster as the commands see it: found by its name with whatever provider has it, and spoken to through its first master's
// agent.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "bake/store.h"
#include "base/channel.h"
#include "config/names.h"
#include "provider/provider.h"

namespace kiln::cluster {

class Session {
 public:
  // An agent on the same machine or in the same region answers in milliseconds; ten seconds cover a host that swaps.
  static constexpr std::chrono::seconds kConnectTime{10};
  // UsageError, with the nearest name, when no provider has such a cluster.
  static Session open(const std::string& name);
  // As open(), and an Error with a hint when it does not run.
  static Session open_running(const std::string& name);

  const provider::Cluster& cluster() const { return cluster_; }
  provider::Provider& provider() { return *provider_; }
  void refresh();  // asks the provider again

  // By name; those that run come first.
  std::vector<std::string> masters() const;
  std::vector<std::string> workers() const;
  const provider::Node& node(const std::string& name) const;  // UsageError, with the nearest, when there is none

  // A channel to the agent that speaks for the cluster (the first master's that answers), with `request` sent.
  // Machines that are still booting are waited for until `patience` is over.
  Channel request(const Json& request, std::chrono::milliseconds patience = kConnectTime);
  // The one answer of a request that has just one. Error when the agent says {"error": …}.
  Json ask(const Json& request);

  // The image the cluster was launched from, as recorded at launch.
  std::vector<bake::ImageModule> modules() const;

  Session(std::unique_ptr<provider::Provider> provider, provider::Cluster cluster)
      : provider_(std::move(provider)), cluster_(std::move(cluster)) {}

 private:
  std::unique_ptr<provider::Provider> provider_;
  provider::Cluster cluster_;
};

// Every cluster of every provider, by name.
std::vector<provider::Cluster> list_clusters();

// Throws when the frame is {"error": words, "hint": …}.
void throw_if_error(const Json& answer);

}  // namespace kiln::cluster
