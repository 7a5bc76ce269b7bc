// Work side by side on a bounded number of threads.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace kiln {

// Calls work(0) … work(count-1), at most `jobs` at a time; returns when all have ended. The first exception is rethrown, and
// no further index is started after it.
void parallel_for(std::size_t count, std::size_t jobs, const std::function<void(std::size_t)>& work);

// A graph of tasks: each runs when all it depends on have succeeded, at most `jobs` at a time.
// Tasks that depend on a failed one are not run; those that don't are finished. Then the first exception is rethrown.
struct GraphTask {
  std::string name;
  std::vector<std::size_t> after;  // indices of tasks
  std::function<void()> work;
};
void run_graph(const std::vector<GraphTask>& tasks, std::size_t jobs);

std::size_t processor_count();

}  // namespace kiln
