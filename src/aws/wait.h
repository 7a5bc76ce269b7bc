// Waiting for a condition, never for a time.
//
//   aws::wait_until(session.surroundings(), "snapshot 'snap-1' to be completed", std::chrono::minutes(30),
//                   [&] { return aws::text(ebs_state(), "status") == "completed"; });
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "aws/surroundings.h"
#include "base/error.h"

namespace kiln::aws {

// What was waited for did not come in time; see the message.
class WaitTimeout : public Error {
 public:
  using Error::Error;
};

struct WaitPauses {
  std::chrono::milliseconds first{200};
  std::chrono::milliseconds longest{5'000};  // EC2's Describe calls allow 100 a burst and 10 to 20 a second for an account and region
};

// Asks `condition` until it is true, with growing, jittered pauses. What it throws passes through (a state from which the wished one
// cannot come should throw). WaitTimeout "… (waited N s)" after `limit`; Interrupted when the user ends kiln.
// `what` completes "waiting for …".
void wait_until(const Surroundings& surroundings, const std::string& what, std::chrono::seconds limit,
                const std::function<bool()>& condition, WaitPauses pauses = {});

}  // namespace kiln::aws
