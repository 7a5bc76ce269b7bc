// What the library takes from outside: environment variables, the clock, pauses and chance. Tests put their own in place; a test's
// clock is ticked by the pauses, so that none waits.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

namespace kiln::aws {

using Time = std::chrono::system_clock::time_point;

struct Surroundings {
  // An environment variable; one that is set to nothing counts as absent, as AWS's own tools have it.
  std::function<std::optional<std::string>(const std::string& name)> variable;
  std::function<Time()> now;
  // Waits; throws Interrupted as soon as the user asks for an end.
  std::function<void(std::chrono::milliseconds)> sleep;
  // From 0 up to, not including, 1.
  std::function<double()> random;

  static Surroundings real();
};

// "2026-11-21T17:23:25Z", also with a fraction or an offset (+00:00), in UTC; nothing for text that is none.
std::optional<Time> parse_iso_time(const std::string& text);
std::string iso_time(Time time);
// "Sat, 21 Nov 2026 17:23:25 GMT" (RFC 9110, Date); nothing for text that is none.
std::optional<Time> parse_http_time(const std::string& text);

}  // namespace kiln::aws
