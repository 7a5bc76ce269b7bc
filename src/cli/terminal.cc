#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <map>
#include <mutex>

#include "base/strings.h"
#include "cli/command.h"

namespace kiln::cli {

namespace {

void write_to(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("cannot write the output: {}", errno_text(errno));
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

bool wants_colour() {
  const char* no_color = std::getenv("NO_COLOR");
  return ::isatty(STDERR_FILENO) != 0 && (no_color == nullptr || *no_color == '\0');
}

std::size_t width_of_terminal() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

// Characters, not bytes: continuation bytes of UTF-8 take no room.
std::size_t shown_width(std::string_view text) {
  std::size_t width = 0;
  for (const char letter : text) width += (static_cast<unsigned char>(letter) & 0xc0) != 0x80 ? 1 : 0;
  return width;
}

std::string describe(const Event& event) {
  std::string words = event.node.empty() ? "" : event.node + ": ";
  words += event.name.empty() ? event.text : event.name;
  return words;
}

// One line that is rewritten in place, above which finished work scrolls by.
class LiveSink : public EventSink {
 public:
  explicit LiveSink(bool verbose) : verbose_(verbose) {}
  ~LiveSink() override { write_to(STDERR_FILENO, "\r\033[K"); }

  void on_event(const Event& event) override {
    const std::lock_guard guard(lock_);
    const auto key = std::pair(event.node, event.id);
    switch (event.kind) {
      case Event::Kind::kBegin:
        active_[key] = describe(event);
        break;
      case Event::Kind::kProgress:
        active_[key] = describe(event) + in_percent(event.fields);
        break;
      case Event::Kind::kEnd:
        active_.erase(key);
        if (!event.ok)
          line_above(fmt::format("failed: {}", describe(event)));
        else if (verbose_)
          line_above(fmt::format("done: {}", describe(event)));
        break;
      case Event::Kind::kMessage:
        if (!event.text.empty()) line_above(event.name.empty() ? describe(event) : describe(event) + ": " + event.text);
        break;
    }
    redraw();
  }

 private:
  static std::string in_percent(const Json& fields) {
    const auto done = fields.value("done", 0.0), total = fields.value("total", 0.0);
    return total > 0 ? fmt::format(" {:.0f}%", 100 * done / total) : "";
  }
  void line_above(const std::string& text) { write_to(STDERR_FILENO, "\r\033[K" + text + "\n"); }
  void redraw() {
    std::vector<std::string> words;
    for (const auto& [key, text] : active_) words.push_back(text);
    std::string line = join(words, " · ");
    const std::size_t width = width_of_terminal() - 1;
    while (shown_width(line) > width) line.pop_back();
    write_to(STDERR_FILENO, "\r\033[K" + line);
  }
  std::mutex lock_;
  std::map<std::pair<std::string, std::uint64_t>, std::string> active_;
  bool verbose_;
};

// For files and pipes: a line for what ended and for messages.
class PlainSink : public EventSink {
 public:
  explicit PlainSink(bool verbose) : verbose_(verbose) {}
  void on_event(const Event& event) override {
    if (event.kind == Event::Kind::kMessage && !event.text.empty()) {
      write_to(STDERR_FILENO, (event.name.empty() ? describe(event) : describe(event) + ": " + event.text) + "\n");
    } else if (event.kind == Event::Kind::kEnd && !event.ok) {
      write_to(STDERR_FILENO, "failed: " + describe(event) + "\n");
    } else if (verbose_ && (event.kind == Event::Kind::kBegin || event.kind == Event::Kind::kEnd)) {
      write_to(STDERR_FILENO, (event.kind == Event::Kind::kBegin ? "begin: " : "done: ") + describe(event) + "\n");
    }
  }

 private:
  bool verbose_;
};

}  // namespace

void print_out(std::string_view text) { write_to(STDOUT_FILENO, text); }

void print_stream(char type, std::string_view bytes) {
  if (type == 'O') return print_out(bytes);
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, bytes.data(), bytes.size());
}

ProgressDisplay::ProgressDisplay(const GlobalOptions& options) {
  if (options.quiet) return;
  const char* term = std::getenv("TERM");
  const bool live = ::isatty(STDERR_FILENO) != 0 && term != nullptr && std::string_view(term) != "dumb";
  if (live) {
    sink_ = std::make_shared<LiveSink>(options.verbose);
  } else {
    sink_ = std::make_shared<PlainSink>(options.verbose);
  }
  add_sink(sink_);
}

ProgressDisplay::~ProgressDisplay() {
  if (sink_) remove_sink(sink_);
}

void print_error(const Error& error, bool json) {
  if (json) {
    const Json object = {{"error", error.message()},
                         {"while", error.context()},
                         {"hint", error.hint_text()},
                         {"exit_code", static_cast<int>(error.exit_code())}};
    write_to(STDERR_FILENO, object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    return;
  }
  const bool colour = wants_colour();
  std::string text = fmt::format("{}kiln:{} {}\n", colour ? "\033[1;31m" : "", colour ? "\033[0m" : "", error.what());
  if (!error.hint_text().empty())
    text += fmt::format("{}hint:{} {}\n", colour ? "\033[1;36m" : "", colour ? "\033[0m" : "", error.hint_text());
  write_to(STDERR_FILENO, text);
}

std::string format_table(const std::vector<std::string>& headings, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& heading : headings) widths.push_back(shown_width(heading));
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], shown_width(row[i]));
  }
  std::string text;
  const auto add = [&](const std::vector<std::string>& row) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i] + std::string(widths[i] - shown_width(row[i]) + 2, ' ');
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  };
  add(headings);
  for (const auto& row : rows) add(row);
  return text;
}

std::string human_duration(double seconds) {
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f} min", seconds / 60);
  if (seconds < 172800) return fmt::format("{:.0f} h", seconds / 3600);
  return fmt::format("{:.0f} days", seconds / 86400);
}

}  // namespace kiln::cli
