// Renders mistakes in users' files. Whatever the file holds (control characters, broken UTF-8, lines of a megabyte) the message is
// printable, short, and its caret stands under the right character.
#include "config/diagnostic.h"

#include <filesystem>
#include <optional>
#include <system_error>

#include "base/files.h"
#include "base/strings.h"

namespace kiln::config {

namespace {

// Wider lines are cut to a window around the caret: 100 columns and the gutter fit a terminal.
constexpr std::size_t kMaxShownBytes = 100;
constexpr std::size_t kMaxQuotedBytes = 60;

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

bool is_control(char byte) { return static_cast<unsigned char>(byte) < 0x20 || byte == 0x7F; }

std::string_view line_of(std::string_view text, int number) {
  std::size_t start = 0;
  for (int line = 1; line < number; ++line) {
    const std::size_t end = text.find('\n', start);
    if (end == std::string_view::npos) return {};
    start = end + 1;
  }
  std::string_view line = text.substr(start, text.find('\n', start) - start);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

// `line` with a caret under its byte `column` (0-based, at most one past the end), cut to a window when it is long.
std::string underlined(int number, std::string_view line, std::size_t column) {
  column = std::min(column, line.size());
  std::size_t from = 0, to = line.size();
  if (line.size() > kMaxShownBytes) {
    from = column > kMaxShownBytes / 2 ? column - kMaxShownBytes / 2 : 0;
    to = std::min(line.size(), from + kMaxShownBytes);
    while (from > 0 && is_continuation(line[from])) --from;
    while (to < line.size() && is_continuation(line[to])) ++to;
  }
  std::string shown = from > 0 ? "…" : "", below = from > 0 ? " " : "";
  for (std::size_t i = from; i < to; ++i) {
    const char byte = line[i];
    // Tabs stay in both lines, so that they line up however wide the terminal makes them.
    shown += byte != '\t' && is_control(byte) ? '?' : byte;
    if (i < column && !is_continuation(byte)) below += byte == '\t' ? '\t' : ' ';
  }
  if (to < line.size()) shown += "…";
  const std::string digits = std::to_string(number);
  return "  " + digits + " | " + shown + "\n  " + std::string(digits.size(), ' ') + " | " + below + "^";
}

std::string place_words(std::string_view file, Position at) {
  std::string words(file);
  if (at.line > 0) words += ":" + std::to_string(at.line) + ":" + std::to_string(at.column);
  return words;
}

std::string render_message(std::string_view file, std::string_view text, Position at, std::string_view what) {
  std::string message = place_words(file, at) + ": " + std::string(what);
  // The line is shown only where it is text; parse errors of other encodings would print rubbish.
  if (at.line > 0 && at.column > 0) {
    const std::string_view line = line_of(text, at.line);
    if (!line.empty()) message += "\n" + underlined(at.line, line, static_cast<std::size_t>(at.column - 1));
  }
  return message;
}

}  // namespace

ConfigError::ConfigError(std::string_view file, std::string_view text, Position at, std::string_view what, std::string hint)
    : UsageError(render_message(file, text, at, what)), first_line_(place_words(file, at) + ": " + std::string(what)), position_(at) {
  set_hint(std::move(hint));
}

std::string ConfigError::one_line() const { return hint_text().empty() ? first_line_ : first_line_ + "; " + hint_text(); }

void Place::fail(std::string_view what, std::string hint) const {
  if (source) throw ConfigError(source->file, source->text, at, what, std::move(hint));
  UsageError error{std::string(what)};
  error.set_hint(std::move(hint));
  throw error;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  // Comparing costs the product of both lengths, and nobody mistypes a name into an essay.
  if (word.size() > 128) return {};
  const auto near = nearest(word, candidates);
  return near && *near != word ? "did you mean '" + *near + "'?" : "";
}

std::string did_you_mean_or_list(std::string_view word, const std::vector<std::string>& candidates) {
  std::string hint = did_you_mean(word, candidates);
  if (hint.empty() && !candidates.empty()) hint = "one of " + join(candidates, ", ");
  return hint;
}

std::string in_quotes(std::string_view text) {
  std::string shown = "'";
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i >= kMaxQuotedBytes && !is_continuation(text[i])) {
      shown += "…";
      break;
    }
    if (text[i] == '\n') {
      shown += "\\n";
    } else if (text[i] == '\t') {
      shown += "\\t";
    } else if (is_control(text[i])) {
      shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[i]));
    } else {
      shown += text[i];
    }
  }
  return shown + "'";
}

std::string read_config_file(const std::string& file) {
  std::error_code code;
  const auto status = fs::status(file, code);
  if (!fs::exists(status)) {
    UsageError error(fmt::format("cannot open {}: {}", in_quotes(file), code ? code.message() : "No such file or directory"));
    std::vector<std::string> there;
    const fs::path folder = fs::path(file).parent_path();
    for (fs::directory_iterator entry(folder.empty() ? fs::path(".") : folder, code), end; !code && entry != end; entry.increment(code)) {
      there.push_back((folder / entry->path().filename()).string());
    }
    error.set_hint(did_you_mean(file, there));
    throw error;
  }
  if (!fs::is_regular_file(status))
    fail_usage("cannot read {}: it is {}", in_quotes(file), fs::is_directory(status) ? "a folder" : "no regular file");
  const auto size_bytes = fs::file_size(file, code);
  if (!code && size_bytes > kMaxConfigBytes) {
    fail_usage("cannot read {}: it has {}, more than the {} that kiln reads of such a file", in_quotes(file), human_size(size_bytes),
               human_size(kMaxConfigBytes));
  }
  return read_file(file);
}

}  // namespace kiln::config
