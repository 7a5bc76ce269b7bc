// Carrying a plan out: round after round of calls and looks, until there is nothing left to plan.
//
// EC2 is eventually consistent: what was just made may be missing from the next look, and what was removed may still be there. So what
// these rounds made is waited for, and what they removed is left out of what they see.
// A call may also fail because somebody else did the work, or undid what it stood on, at the same time. Such failures are soft: the next
// look tells what is left to do. Only when nothing moves for half a minute the failure is told.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "aws/session.h"
#include "aws/wait.h"
#include "provider/aws/network_plan.h"

namespace kiln::provider::on_aws {

class Rounds {
 public:
  Rounds(const kiln::aws::Session& session, const kiln::aws::Ec2& ec2, std::string network)
      : session_(session), ec2_(ec2), network_(std::move(network)) {}

  // What there is now.
  NetworkState look(Look what = Look::kNetwork);
  // Makes all calls that are ready, side by side; pauses when they came to nothing. What was done is added to `done`, in words.
  // ApiError for a failure that is not soft, or when soft ones go on; Error when no step is ready.
  void run(const std::vector<Step>& steps, std::vector<std::string>& done);
  // The id that the last run() made, of the one step that it had; empty when the answer was not heard.
  const std::string& made() const { return last_made_; }
  // It was removed by other means.
  void forget(const std::string& id);

 private:
  struct Outcome;
  void call(const Step& step, Outcome& outcome);
  void rest(const kiln::aws::ApiError& failure);

  const kiln::aws::Session& session_;
  const kiln::aws::Ec2& ec2_;
  std::string network_, last_made_;
  std::set<std::string> made_, removed_;
  int fruitless_ = 0;
  std::chrono::milliseconds waited_{0};
};

}  // namespace kiln::provider::on_aws
