// What is wrong with a file the user wrote: file:line:column, the line itself and a caret, and a suggestion where one is near.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace kiln::config {

// 1-based; 0: unknown.
struct Position {
  int line = 0;
  int column = 0;
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

 private:
  Position position_;
};

}  // namespace kiln::config
