// All services of this node: started as what they wait for gets ready, here or on other nodes; stopped in the reverse order.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "node/service.h"

namespace kiln::node {

class Supervisor {
 public:
  // `context`'s environment is the node's; on_change is called (in the loop, once for many) when any service's state changed.
  Supervisor(const Plan& plan, ServiceContext context, std::function<void()> on_change);

  // The module's setup is over: its services may start, or have failed with it.
  void module_ready(const std::string& module);
  void module_failed(const std::string& module, const std::string& why);
  // What is ready in the cluster; counts for services that this node doesn't run itself.
  void set_cluster_ready(std::set<std::string> ready);

  // Every service but those that others wait for gets its stop signal at once; those when these have ended. `done` when all have.
  void stop_all(std::optional<std::chrono::milliseconds> at_most, std::function<void()> done);
  bool stopping() const { return stopping_; }

  Json status() const;
  std::set<std::string> ready() const;
  bool all_satisfied() const;
  std::optional<std::string> first_failed() const;
  const std::vector<std::unique_ptr<SupervisedService>>& services() const { return services_; }

 private:
  void changed();
  void advance();
  bool met(const std::vector<std::string>& names) const;
  bool needed_by_running(const SupervisedService& service) const;
  SupervisedService* find(const std::string& name) const;

  Loop& loop_;
  std::function<void()> on_change_;
  std::vector<std::unique_ptr<SupervisedService>> services_;
  std::set<std::string> ready_modules_, cluster_ready_;
  bool pending_ = false, stopping_ = false;
  std::optional<std::chrono::milliseconds> stop_at_most_;
  std::vector<std::function<void()>> on_stopped_;
};

}  // namespace kiln::node
