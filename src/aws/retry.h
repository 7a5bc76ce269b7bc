// When a failed call is tried again, and after how long: as the AWS SDKs' "standard" mode (AWS SDKs and Tools Reference Guide, "Retry
// behavior"), with more attempts, since a launch or a bake that gives up costs more than waiting.
//
//   pause before attempt n+1:  chance × min(20 s, 2^(n-1) s), or what the server asks for by Retry-After when that is longer (at most 30 s)
//   attempts: 8, so at most 1+2+4+8+16+20+20 = 71 s of pauses, half of that on average; AWS_MAX_ATTEMPTS and the profile's max_attempts
//             say otherwise
//
// The budget is shared by all calls of a session: 500 tokens; a retry takes 5 (10 after a time-out), a success gives back what its last
// retry took, or 1. When a service is down that ends a storm of retries: with the bucket empty calls fail at once.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

#include "aws/surroundings.h"

namespace kiln::aws {

class RetryBudget {
 public:
  // False when the budget is spent: don't try again.
  bool take(int tokens);
  void give(int tokens);
  int left() const;

  static constexpr int kCapacity = 500;
  static constexpr int kRetryCost = 5;
  static constexpr int kTimeoutCost = 10;

 private:
  mutable std::mutex lock_;
  int left_ = kCapacity;
};

constexpr int kDefaultMaxAttempts = 8;

// The pause after attempt `attempt` (from 1) failed; `retry_after`: what the server asked for, or zero.
std::chrono::milliseconds retry_pause(int attempt, std::chrono::seconds retry_after, double chance);

// How far AWS's clock is ahead of this machine's, as learnt from answers; requests are signed with AWS's time.
struct ClockOffset {
  std::atomic<std::int64_t> seconds = 0;
};

}  // namespace kiln::aws
