#include "aws/retry.h"

#include <algorithm>

namespace kiln::aws {

bool RetryBudget::take(int tokens) {
  const std::lock_guard guard(lock_);
  if (left_ < tokens) return false;
  left_ -= tokens;
  return true;
}

void RetryBudget::give(int tokens) {
  const std::lock_guard guard(lock_);
  left_ = std::min(kCapacity, left_ + tokens);
}

int RetryBudget::left() const {
  const std::lock_guard guard(lock_);
  return left_;
}

std::chrono::milliseconds retry_pause(int attempt, std::chrono::seconds retry_after, double chance) {
  constexpr int kLongestSeconds = 20;
  constexpr std::chrono::seconds kMostRetryAfter{30};
  const int ceiling = attempt > 5 ? kLongestSeconds : std::min(kLongestSeconds, 1 << (std::max(attempt, 1) - 1));
  const std::chrono::milliseconds backoff(static_cast<std::int64_t>(chance * ceiling * 1000));
  return std::max<std::chrono::milliseconds>(backoff, std::min(retry_after, kMostRetryAfter));
}

}  // namespace kiln::aws
