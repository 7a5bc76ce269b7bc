#include "aws/wait.h"

#include <algorithm>

namespace kiln::aws {

void wait_until(const Surroundings& surroundings, const std::string& what, std::chrono::seconds limit,
                const std::function<bool()>& condition, WaitPauses pauses) {
  constexpr double kGrowth = 1.5;
  const Time start = surroundings.now();
  auto pause = pauses.first;
  for (;;) {
    if (condition()) return;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(start + limit - surroundings.now());
    if (left.count() <= 0) throw WaitTimeout(fmt::format("waiting for {} took too long (waited {} s)", what, limit.count()));
    // From half of the pause to all of it: many that wait for the same don't ask at the same moment.
    const std::chrono::milliseconds jittered(
        static_cast<std::int64_t>(static_cast<double>(pause.count()) * (0.5 + surroundings.random() / 2)));
    surroundings.sleep(std::max(std::chrono::milliseconds(1), std::min(jittered, left)));
    pause = std::min(pauses.longest, std::chrono::milliseconds(static_cast<std::int64_t>(static_cast<double>(pause.count()) * kGrowth)));
  }
}

}  // namespace kiln::aws
