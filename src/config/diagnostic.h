// What is wrong with a file the user wrote: file:line:column, the line itself and a caret, and a suggestion where one is near.
// The agent links this too: nothing here may need yaml-cpp.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace kiln::config {

// 1-based, the column in bytes, as compilers count; 0: unknown.
struct Position {
  int line = 0;
  int column = 0;
};

// One document: its name and text, for messages.
struct Source {
  std::string file;
  std::string text;
};

// A usage error (exit 2) whose message is
//   images/x.yaml:3:7: unknown key 'pakages'
//     3 | pakages: [a]
//       | ^
// and whose hint is e.g. "did you mean 'packages'?".
class ConfigError : public UsageError {
 public:
  ConfigError(std::string_view file, std::string_view text, Position at, std::string_view what, std::string hint = {});
  Position position() const { return position_; }
  // "images/x.yaml:3:7: unknown key 'pakages'; did you mean 'packages'?": all of it in one line, for lists of problems.
  std::string one_line() const;

 private:
  std::string first_line_;
  Position position_;
};

// Where a value was written, so that a check made long after reading can still point at it. A value that came from no file
// (an option, JSON) has no source: its errors are plain UsageErrors.
struct Place {
  std::shared_ptr<const Source> source = nullptr;
  Position at = {};
  [[noreturn]] void fail(std::string_view what, std::string hint = {}) const;
};

// "did you mean 'packages'?", or nothing when no candidate is near.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);
// As did_you_mean(), and when nothing is near: "one of a, b, c".
std::string did_you_mean_or_list(std::string_view word, const std::vector<std::string>& candidates);

// `text` in single quotes, shortened, control characters shown as escapes: what users wrote must not steer their terminal.
std::string in_quotes(std::string_view text);

// A file that a user named, whole. UsageError when it is absent (with the nearest name in its folder), no regular file, or larger
// than kMaxConfigBytes: people don't write such files, and a device or FIFO would never end.
inline constexpr std::size_t kMaxConfigBytes = 1 << 20;
std::string read_config_file(const std::string& file);

}  // namespace kiln::config
