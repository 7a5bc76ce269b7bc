// Everything kiln prints goes through here: results to standard output, progress and errors to standard error.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/activity.h"
#include "base/error.h"

namespace kiln::cli {

struct GlobalOptions;

// Writes all of it, or throws Error (a full disk); a reader that went away (SIGPIPE) ends kiln quietly.
void print_out(std::string_view text);
// Of a command on a node: its output ('O') as print_out() does, its errors to standard error, as far as that goes.
void print_stream(char type, std::string_view bytes);

// Shows the event stream on standard error for as long as it lives: one live line on a terminal, plain lines elsewhere, nothing when quiet.
class ProgressDisplay {
 public:
  explicit ProgressDisplay(const GlobalOptions& options);
  ~ProgressDisplay();
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

 private:
  std::shared_ptr<EventSink> sink_;
};

// "kiln: message", the "while …" lines, then the hint; or, with --json, one JSON object.
void print_error(const Error& error, bool json);

// Columns wide enough for their content; no trailing blanks.
std::string format_table(const std::vector<std::string>& headings, const std::vector<std::vector<std::string>>& rows);

// Seconds as people read them: 4 s, 3 min, 2 h, 5 days.
std::string human_duration(double seconds);

}  // namespace kiln::cli
