#include "aws/surroundings.h"

#include <fmt/core.h>
#include <poll.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>

#include "base/interrupt.h"

namespace kiln::aws {

namespace {

void pause(std::chrono::milliseconds duration) {
  const auto end = std::chrono::steady_clock::now() + duration;
  for (;;) {
    throw_if_interrupted();
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return;
    pollfd interrupt{interrupt_fd(), POLLIN, 0};
    ::poll(&interrupt, 1, static_cast<int>(left.count()));
  }
}

double chance() {
  thread_local std::mt19937_64 generator{std::random_device{}()};
  return std::uniform_real_distribution<double>(0, 1)(generator);
}

// Days since 1970-01-01 need no time zone that the process has: timegm() takes UTC.
std::optional<Time> from_fields(int year, int month, int day, int hour, int minute, int second) {
  const bool sane = year >= 1970 && year <= 9999 && month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour >= 0 && hour < 24 &&
                    minute >= 0 && minute < 60 && second >= 0 && second <= 60;
  if (!sane) return std::nullopt;
  std::tm fields{};
  fields.tm_year = year - 1900;
  fields.tm_mon = month - 1;
  fields.tm_mday = day;
  fields.tm_hour = hour;
  fields.tm_min = minute;
  fields.tm_sec = second;
  return std::chrono::system_clock::from_time_t(::timegm(&fields));
}

}  // namespace

Surroundings Surroundings::real() {
  return {[](const std::string& name) -> std::optional<std::string> {
            const char* value = std::getenv(name.c_str());
            if (value == nullptr || *value == '\0') return std::nullopt;
            return value;
          },
          [] { return std::chrono::system_clock::now(); }, pause, chance};
}

std::optional<Time> parse_iso_time(const std::string& text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, end = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%n", &year, &month, &day, &hour, &minute, &second, &end) != 6 || end == 0)
    return std::nullopt;
  std::size_t at = static_cast<std::size_t>(end);
  if (at < text.size() && text[at] == '.') {
    do ++at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9');
  }
  const auto time = from_fields(year, month, day, hour, minute, second);
  const std::string zone = text.substr(at);
  if (!time || zone == "Z" || zone == "UTC" || zone.empty()) return time;
  char sign = 0;
  int hours = 0, minutes = 0;
  if (std::sscanf(zone.c_str(), "%c%2d:%2d", &sign, &hours, &minutes) != 3 || (sign != '+' && sign != '-')) return std::nullopt;
  const auto offset = std::chrono::minutes(hours * 60 + minutes);
  return sign == '+' ? *time - offset : *time + offset;
}

std::string iso_time(Time time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm fields{};
  ::gmtime_r(&seconds, &fields);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", fields.tm_year + 1900, fields.tm_mon + 1, fields.tm_mday, fields.tm_hour,
                     fields.tm_min, fields.tm_sec);
}

std::optional<Time> parse_http_time(const std::string& text) {
  static constexpr std::array<const char*, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::array<char, 4> weekday{}, month{};
  int day = 0, year = 0, hour = 0, minute = 0, second = 0;
  if (std::sscanf(text.c_str(), "%3s, %2d %3s %4d %2d:%2d:%2d GMT", weekday.data(), &day, month.data(), &year, &hour, &minute, &second) !=
      7)
    return std::nullopt;
  for (std::size_t i = 0; i < kMonths.size(); ++i) {
    if (std::string(month.data()) == kMonths[i]) return from_fields(year, static_cast<int>(i) + 1, day, hour, minute, second);
  }
  return std::nullopt;
}

}  // namespace kiln::aws
