// Bad input as tables. In a case's text the sign » stands right before what the error must point at; it is taken out before reading.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "config/diagnostic.h"

namespace kiln::config {

struct BadInput {
  std::string name;
  std::string marked_text;
  std::string message;  // part of what must be said
  std::string hint;     // part of the suggestion; empty: there is none
};

struct MarkedText {
  std::string text;
  Position at;  // 0:0 without a mark: an error with no line
};

inline MarkedText unmark(const std::string& marked) {
  static const std::string kMark = "»";
  const std::size_t mark = marked.find(kMark);
  if (mark == std::string::npos) return {marked, {}};
  const std::string before = marked.substr(0, mark);
  const std::size_t line_start = before.rfind('\n') == std::string::npos ? 0 : before.rfind('\n') + 1;
  return {before + marked.substr(mark + kMark.size()),
          {1 + static_cast<int>(std::count(before.begin(), before.end(), '\n')), 1 + static_cast<int>(mark - line_start)}};
}

// Every case is refused by `parse(file, text)`, at its place, with its words, as a usage error.
inline void expect_refused(const std::vector<BadInput>& cases, const std::function<void(const std::string&, const std::string&)>& parse) {
  for (const auto& bad : cases) {
    SCOPED_TRACE(bad.name);
    const MarkedText input = unmark(bad.marked_text);
    const std::string file = "some/file.yaml";
    try {
      parse(file, input.text);
      ADD_FAILURE() << "was accepted:\n" << input.text;
    } catch (const ConfigError& error) {
      EXPECT_EQ(error.position().line, input.at.line) << error.what();
      EXPECT_EQ(error.position().column, input.at.column) << error.what();
      const std::string place = input.at.line > 0 ? fmt::format("{}:{}:{}: ", file, input.at.line, input.at.column) : file + ": ";
      EXPECT_TRUE(error.message().starts_with(place)) << error.what();
      EXPECT_NE(error.message().find(bad.message), std::string::npos) << error.what() << "\nshould say: " << bad.message;
      EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
      if (bad.hint.empty()) {
        EXPECT_EQ(error.hint_text(), "") << error.what();
      } else {
        EXPECT_NE(error.hint_text().find(bad.hint), std::string::npos) << error.what() << "\nhint: " << error.hint_text();
      }
    } catch (const std::exception& error) {
      ADD_FAILURE() << "not a ConfigError: " << error.what();
    }
  }
}

}  // namespace kiln::config
