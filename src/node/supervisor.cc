#include "node/supervisor.h"

#include <algorithm>

namespace kiln::node {

namespace {

bool has_ended(const SupervisedService& service) {
  return service.state() == ServiceState::kStopped || service.state() == ServiceState::kFailed || service.state() == ServiceState::kOff;
}

}  // namespace

Supervisor::Supervisor(const Plan& plan, ServiceContext context, std::function<void()> on_change)
    : loop_(context.loop), on_change_(std::move(on_change)) {
  context.on_change = [this] { changed(); };
  const Environment node_env = context.env;
  for (const auto& planned : plan.services) {
    context.env = node_env;
    for (auto& [name, value] : module_environment(*plan.module(planned.module), context.paths, "")) context.env[name] = value;
    services_.push_back(std::make_unique<SupervisedService>(planned, context));
  }
}

SupervisedService* Supervisor::find(const std::string& name) const {
  for (const auto& service : services_)
    if (service->planned().name == name) return service.get();
  return nullptr;
}

void Supervisor::module_ready(const std::string& module) {
  ready_modules_.insert(module);
  changed();
}

void Supervisor::module_failed(const std::string& module, const std::string& why) {
  for (const auto& service : services_)
    if (service->planned().module == module) service->fail(why);
  changed();
}

void Supervisor::set_cluster_ready(std::set<std::string> ready) {
  if (ready == cluster_ready_) return;
  cluster_ready_ = std::move(ready);
  changed();
}

bool Supervisor::met(const std::vector<std::string>& names) const {
  return std::all_of(names.begin(), names.end(), [&](const auto& name) {
    const auto* own = find(name);
    return own != nullptr && own->planned().here ? own->satisfied() : cluster_ready_.count(name) != 0;
  });
}

bool Supervisor::needed_by_running(const SupervisedService& service) const {
  const auto names = [&](const std::vector<std::string>& list) {
    return std::find(list.begin(), list.end(), service.planned().name) != list.end();
  };
  return std::any_of(services_.begin(), services_.end(), [&](const auto& other) {
    return !has_ended(*other) && (names(other->planned().after) || names(other->planned().gate));
  });
}

// Several changes of one moment (a ready line, an ended child) are acted on and told once.
void Supervisor::changed() {
  if (pending_) return;
  pending_ = true;
  loop_.defer([this] {
    pending_ = false;
    advance();
    on_change_();
  });
}

void Supervisor::advance() {
  if (stopping_) {
    bool all_ended = true;
    for (const auto& service : services_) {
      if (has_ended(*service)) continue;
      all_ended = false;
      if (!needed_by_running(*service)) service->stop(stop_at_most_);
    }
    if (all_ended) {
      for (const auto& done : std::exchange(on_stopped_, {})) loop_.defer(done);
    }
    return;
  }
  for (const auto& service : services_) {
    const auto& planned = service->planned();
    if (!planned.here || ready_modules_.count(planned.module) == 0) continue;
    if (!service->gate_is_open() && !planned.spec.gate.empty() && met(planned.gate)) service->open_gate();
    if (service->state() == ServiceState::kWaiting && met(planned.after)) service->start();
  }
}

void Supervisor::stop_all(std::optional<std::chrono::milliseconds> at_most, std::function<void()> done) {
  stopping_ = true;
  if (at_most) stop_at_most_ = at_most;
  on_stopped_.push_back(std::move(done));
  changed();
}

Json Supervisor::status() const {
  Json all = Json::array();
  for (const auto& service : services_) all.push_back(service->status());
  return all;
}

std::set<std::string> Supervisor::ready() const {
  std::set<std::string> names;
  for (const auto& service : services_)
    if (service->satisfied()) names.insert(service->planned().name);
  return names;
}

bool Supervisor::all_satisfied() const {
  return std::all_of(services_.begin(), services_.end(),
                     [](const auto& service) { return service->satisfied() || service->state() == ServiceState::kOff; });
}

std::optional<std::string> Supervisor::first_failed() const {
  for (const auto& service : services_)
    if (service->state() == ServiceState::kFailed) return service->planned().name;
  return {};
}

}  // namespace kiln::node
