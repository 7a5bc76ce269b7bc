#include "provider/aws/network_rounds.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/activity.h"
#include "base/parallel.h"

namespace kiln::provider::on_aws {

namespace {

using kiln::aws::ApiError;

// Nobody's fault, and perhaps over: somebody did it already, has not done yet what it needs, or EC2 does not know yet (API Reference,
// "Error codes for the Amazon EC2 API"). A second gateway for a VPC is refused as a wrong parameter.
bool is_soft(const ApiError& failure) {
  static constexpr std::array<std::string_view, 6> kCodes{"InvalidSubnet.Conflict", "Resource.AlreadyAssociated", "DependencyViolation",
                                                          "IncorrectState",         "Gateway.NotAttached",        "InvalidVpcState"};
  return failure.is_not_found() || failure.is_duplicate() || failure.may_have_acted() ||
         std::find(kCodes.begin(), kCodes.end(), failure.code()) != kCodes.end() ||
         (failure.operation() == "AttachInternetGateway" && failure.code() == "InvalidParameterValue");
}

// New things are seen within seconds. Should it take longer, what is then made a second time is removed as one too many; and a rival may
// have removed it before it was ever seen here.
constexpr std::chrono::seconds kUntilSeen{10};
constexpr std::chrono::milliseconds kPatience{30'000};

template <class Kind>
void leave_out(std::vector<Kind>& things, const std::set<std::string>& removed) {
  things.erase(std::remove_if(things.begin(), things.end(), [&](const Kind& thing) { return removed.count(thing.id) > 0; }), things.end());
}

}  // namespace

struct Rounds::Outcome {
  bool done = false;
  std::string id;
  std::optional<ApiError> soft;
};

void Rounds::forget(const std::string& id) {
  made_.erase(id);
  removed_.insert(id);
}

NetworkState Rounds::look(Look what) {
  NetworkState state;
  const auto all_seen = [&] {
    state = look_for(ec2_, network_, what);
    // Seen once is enough: somebody else may remove it then, as one too many.
    std::erase_if(made_, [&](const std::string& id) { return state.has(id); });
    return made_.empty();
  };
  try {
    kiln::aws::wait_until(session_.surroundings(), "what was made to be seen", kUntilSeen, all_seen);
  } catch (const kiln::aws::WaitTimeout&) {
    // Somebody removed it: the state as it is tells what to do.
    made_.clear();
  }
  leave_out(state.vpcs, removed_);
  leave_out(state.subnets, removed_);
  leave_out(state.gateways, removed_);
  leave_out(state.route_tables, removed_);
  for (auto& table : state.route_tables) leave_out(table.associations, removed_);
  leave_out(state.endpoints, removed_);
  leave_out(state.groups, removed_);
  return state;
}

void Rounds::call(const Step& step, Outcome& outcome) {
  Activity activity(step.what);
  try {
    const Json answer = ec2_.call(step.operation, step.params);
    if (!step.made.empty()) outcome.id = kiln::aws::required_text(answer, step.made);
    outcome.done = true;
    activity.finish();
  } catch (const ApiError& failure) {
    // What is to be removed and is not there has been removed.
    if (!step.removes.empty() && failure.is_not_found()) {
      outcome.done = true;
      activity.finish();
    } else if (is_soft(failure)) {
      outcome.soft = failure;
      activity.finish({{"again", failure.code()}});
    } else {
      throw;
    }
  }
}

void Rounds::run(const std::vector<Step>& steps, std::vector<std::string>& done) {
  std::vector<Step> ready;
  std::copy_if(steps.begin(), steps.end(), std::back_inserter(ready), [](const Step& step) { return step.ready; });
  if (ready.empty()) fail("kiln's plan for network '{}' waits for itself; first of it: {}", network_, steps.front().what);
  std::vector<Outcome> outcomes(ready.size());
  last_made_.clear();
  const auto note = [&] {
    for (std::size_t index = 0; index < ready.size(); ++index) {
      const Outcome& outcome = outcomes[index];
      if (!outcome.done) continue;
      done.push_back(ready[index].what + (outcome.id.empty() ? "" : " (" + outcome.id + ")"));
      if (!outcome.id.empty()) made_.insert(outcome.id), last_made_ = outcome.id;
      if (!ready[index].removes.empty()) forget(ready[index].removes);
    }
  };
  // Eight: a subnet for each zone; EC2 lets an account make five to ten such calls a second, in bursts of 50 and more.
  try {
    parallel_for(ready.size(), 8, [&](std::size_t index) { call(ready[index], outcomes[index]); });
  } catch (...) {
    note();
    throw;
  }
  note();
  const bool any_done = std::any_of(outcomes.begin(), outcomes.end(), [](const Outcome& outcome) { return outcome.done; });
  if (any_done) fruitless_ = 0, waited_ = {};
  for (const auto& outcome : outcomes) {
    if (outcome.soft) return rest(*outcome.soft);
  }
}

void Rounds::rest(const ApiError& failure) {
  if (waited_ >= kPatience) throw failure;
  // 0.25 s, 0.5 s, … up to 4 s, so some ten looks; two that work on the same network get out of step by chance.
  const int most = 250 << std::min(fruitless_++, 4);
  const std::chrono::milliseconds pause(most / 2 + static_cast<int>(session_.surroundings().random() * most / 2));
  waited_ += pause;
  session_.surroundings().sleep(pause);
}

}  // namespace kiln::provider::on_aws
