#include "base/parallel.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

namespace kiln {

std::size_t processor_count() { return std::max(1u, std::thread::hardware_concurrency()); }

void parallel_for(std::size_t count, std::size_t jobs, const std::function<void(std::size_t)>& work) {
  std::exception_ptr first;
  std::mutex lock;
  std::size_t next = 0;
  const auto loop = [&] {
    for (;;) {
      std::size_t index;
      {
        const std::lock_guard guard(lock);
        if (first || next >= count) return;
        index = next++;
      }
      try {
        work(index);
      } catch (...) {
        const std::lock_guard guard(lock);
        if (!first) first = std::current_exception();
      }
    }
  };
  std::vector<std::jthread> threads;
  const std::size_t workers = std::min(count, std::max<std::size_t>(1, jobs));
  for (std::size_t i = 1; i < workers; ++i) threads.emplace_back(loop);
  loop();
  threads.clear();
  if (first) std::rethrow_exception(first);
}

void run_graph(const std::vector<GraphTask>& tasks, std::size_t jobs) {
  enum class State { kWaiting, kRunning, kDone, kFailed };
  std::vector<State> states(tasks.size(), State::kWaiting);
  std::exception_ptr first;
  std::mutex lock;
  std::condition_variable changed;

  // The next task whose turn it is; failure is handed on to those that depend on it. Under the lock.
  const auto pick = [&]() -> std::size_t {
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      if (states[i] != State::kWaiting) continue;
      const auto state_of = [&](std::size_t other) { return states[other]; };
      if (std::any_of(tasks[i].after.begin(), tasks[i].after.end(), [&](auto other) { return state_of(other) == State::kFailed; })) {
        states[i] = State::kFailed;
        changed.notify_all();
        return tasks.size() + 1;  // look again: others may depend on this one
      }
      if (std::all_of(tasks[i].after.begin(), tasks[i].after.end(), [&](auto other) { return state_of(other) == State::kDone; })) return i;
    }
    return tasks.size();
  };
  const auto loop = [&] {
    std::unique_lock guard(lock);
    for (;;) {
      const std::size_t index = pick();
      if (index > tasks.size()) continue;
      if (index == tasks.size()) {
        if (std::none_of(states.begin(), states.end(), [](State state) { return state == State::kRunning; })) {
          changed.notify_all();
          return;  // nothing runs, nothing can: all is done (or waits for itself, which the caller's planner excludes)
        }
        changed.wait(guard);
        continue;
      }
      states[index] = State::kRunning;
      guard.unlock();
      std::exception_ptr error;
      try {
        tasks[index].work();
      } catch (...) {
        error = std::current_exception();
      }
      guard.lock();
      states[index] = error ? State::kFailed : State::kDone;
      if (error && !first) first = error;
      changed.notify_all();
    }
  };
  std::vector<std::jthread> threads;
  const std::size_t workers = std::min(tasks.size(), std::max<std::size_t>(1, jobs));
  for (std::size_t i = 1; i < workers; ++i) threads.emplace_back(loop);
  loop();
  threads.clear();
  if (first) std::rethrow_exception(first);
}

}  // namespace kiln
