// Names, sizes and durations: what may be written, and the words when it may not.
#include "config/names.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "config/diagnostic.h"

namespace kiln::config {

namespace {

bool is_lower(char letter) { return letter >= 'a' && letter <= 'z'; }
bool is_digit(char letter) { return letter >= '0' && letter <= '9'; }
char to_lower(char letter) { return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter; }

// A name like `wanted` that keeps the rule, or nothing: capitals made small, other letters '-', the ends trimmed.
std::string near_name(std::string_view wanted, std::string_view others, std::size_t max, bool letter_first) {
  std::string name;
  for (const char raw : wanted.substr(0, 4 * max)) {
    const char letter = to_lower(raw);
    const bool allowed = is_lower(letter) || is_digit(letter) || others.find(letter) != std::string_view::npos;
    if (!allowed && (name.empty() || name.back() == '-')) continue;
    name += allowed ? letter : '-';
  }
  const auto starts_right = [&](char letter) { return is_lower(letter) || (!letter_first && is_digit(letter)); };
  while (!name.empty() && !starts_right(name.front())) name.erase(0, 1);
  name = name.substr(0, max);
  while (!name.empty() && !is_lower(name.back()) && !is_digit(name.back())) name.pop_back();
  return name;
}

[[noreturn]] void refuse_name(std::string_view kind, std::string_view name, std::string_view rule, const std::string& near) {
  UsageError error(fmt::format("{} is no {} name: {}", in_quotes(name), kind, rule));
  if (!near.empty() && near != name) error.set_hint("'" + near + "' would do");
  throw error;
}

void check_free_name(std::string_view kind, std::string_view name) {
  bool good = !name.empty() && name.size() <= 64 && (is_lower(name[0]) || is_digit(name[0]));
  for (const char letter : name) good = good && (is_lower(letter) || is_digit(letter) || letter == '.' || letter == '_' || letter == '-');
  if (!good) {
    refuse_name(kind, name, "1 to 64 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit", near_name(name, "._-", 64, false));
  }
}

void check_short_name(std::string_view kind, std::string_view name) {
  bool good = !name.empty() && name.size() <= 32 && is_lower(name[0]) && name.back() != '-';
  for (const char letter : name) good = good && (is_lower(letter) || is_digit(letter) || letter == '-');
  if (!good) {
    refuse_name(kind, name, "1 to 32 of a-z, 0-9 and '-', starting with a letter, not ending in '-'", near_name(name, "-", 32, true));
  }
}

[[noreturn]] void refuse(std::string_view what, std::string_view text, std::string_view why, std::string hint) {
  UsageError error(fmt::format("{} cannot be {}: {}", what, in_quotes(text), why));
  error.set_hint(std::move(hint));
  throw error;
}

std::string_view without_blanks(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

}  // namespace

void check_cluster_name(std::string_view name) { check_short_name("cluster", name); }
void check_network_name(std::string_view name) { check_short_name("network", name); }
void check_image_name(std::string_view name) { check_free_name("image", name); }

void check_module_name(std::string_view name) { check_free_name("module", name); }

std::int64_t parse_size_bytes(std::string_view what, std::string_view text) {
  static constexpr char kHint[] = "write for example 512m, 2g or 1.5GiB";
  const std::string_view words = without_blanks(text);
  double number = 0;
  const auto [end, code] = std::from_chars(words.data(), words.data() + words.size(), number, std::chars_format::fixed);
  // from_chars also reads "inf" and "nan": a size starts with a digit.
  if (words.empty() || !is_digit(words[0])) {
    refuse(what, text, words.starts_with('-') ? "a size is not negative" : "a size starts with a number", kHint);
  }
  std::string unit;
  for (const char letter : without_blanks(words.substr(static_cast<std::size_t>(end - words.data())))) unit += to_lower(letter);
  // "k", "kb", "kib" are the same here: powers of 1024, as the JVM and Spark count memory.
  static constexpr std::string_view kUnits = "kmgt";
  int power = 0;
  if (!unit.empty() && unit != "b") {
    const std::size_t index = kUnits.find(unit[0]);
    const std::string_view rest = std::string_view(unit).substr(1);
    if (index == std::string_view::npos || !(rest.empty() || rest == "b" || rest == "ib")) {
      refuse(what, text, fmt::format("{} is no unit of size (k, m, g, t)", in_quotes(unit)), kHint);
    }
    power = static_cast<int>(index) + 1;
  }
  const double bytes = std::ldexp(number, 10 * power);
  // 2^62: well below the range's end, so that sums of a few sizes don't overflow.
  if (code != std::errc{} || !(bytes < std::ldexp(1.0, 62))) refuse(what, text, "too large", {});
  if (bytes != std::floor(bytes) && power == 0) refuse(what, text, "a part of a byte", kHint);
  return static_cast<std::int64_t>(bytes);
}

std::chrono::seconds parse_duration(std::string_view what, std::string_view text) {
  static constexpr char kHint[] = "write for example 90s, 15m, 8h, 2d or 1h30m";
  // A hundred years: more is a slip, and the sum stays far from overflowing.
  static constexpr std::int64_t kMaxSeconds = 100LL * 366 * 86400;
  std::string_view rest = without_blanks(text);
  if (rest.empty()) refuse(what, text, "a time has a number and a unit", kHint);
  std::int64_t total = 0;
  std::int64_t last_unit = std::numeric_limits<std::int64_t>::max();
  while (!rest.empty()) {
    std::int64_t number = 0;
    const auto [end, code] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (code == std::errc::invalid_argument) refuse(what, text, "a time starts with a number", kHint);
    if (rest[0] == '-') refuse(what, text, "a time is not negative", kHint);
    if (code != std::errc{} || number > kMaxSeconds) refuse(what, text, "too long", {});
    rest = without_blanks(rest.substr(static_cast<std::size_t>(end - rest.data())));
    if (rest.empty()) {
      refuse(what, text, "a time needs a unit", fmt::format("'{0}s', '{0}m' or '{0}h'?", number));
    }
    std::int64_t unit = 0;
    switch (to_lower(rest[0])) {
      case 's':
        unit = 1;
        break;
      case 'm':
        unit = 60;
        break;
      case 'h':
        unit = 3600;
        break;
      case 'd':
        unit = 86400;
        break;
      default:
        refuse(what, text, "units of time are s, m, h and d", kHint);
    }
    rest = without_blanks(rest.substr(1));
    // "1h30m" but not "30m1h" nor "1m1m": those are slips.
    if ((!rest.empty() && !is_digit(rest[0])) || unit >= last_unit)
      refuse(what, text, "units of time are s, m, h and d, longest first", kHint);
    last_unit = unit;
    if (number > kMaxSeconds / unit) refuse(what, text, "too long", {});
    total += number * unit;
    if (total > kMaxSeconds) refuse(what, text, "too long", {});
  }
  return std::chrono::seconds(total);
}

}  // namespace kiln::config
