// Errors as kiln tells them: what failed, on what, why; then "while …" lines from whoever knew more; then a hint.
// Library rooms throw these; only cli/ prints them and chooses the exit code.
#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace kiln {

// Process exit codes (docs: every command's page).
enum class ExitCode : int { kDone = 0, kFailed = 1, kUsage = 2, kInterrupted = 130 };

class Error : public std::exception {
 public:
  explicit Error(std::string message) : message_(std::move(message)) { render(); }

  const std::string& message() const { return message_; }
  const std::string& hint_text() const { return hint_; }
  const std::vector<std::string>& context() const { return context_; }
  virtual ExitCode exit_code() const { return ExitCode::kFailed; }
  const char* what() const noexcept override { return rendered_.c_str(); }

  // What to do about it; printed after the message, never instead of it.
  void set_hint(std::string hint) { hint_ = std::move(hint); }
  // "while …": which layer, node or file was being worked on.
  void add_context(std::string line) {
    context_.push_back(std::move(line));
    render();
  }

 private:
  void render() {
    rendered_ = message_;
    for (const auto& line : context_) rendered_ += "\n  while " + line;
  }
  std::string message_, hint_, rendered_;
  std::vector<std::string> context_;
};

// The user's words were wrong: exit code 2, nothing was created.
class UsageError : public Error {
 public:
  using Error::Error;
  ExitCode exit_code() const override { return ExitCode::kUsage; }
};

// Ctrl-C or SIGTERM: exit code 130 after cleaning up.
class Interrupted : public Error {
 public:
  Interrupted() : Error("interrupted") {}
  ExitCode exit_code() const override { return ExitCode::kInterrupted; }
};

template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
[[noreturn]] void fail_usage(fmt::format_string<Args...> format, Args&&... args) {
  throw UsageError(fmt::format(format, std::forward<Args>(args)...));
}

// `errno_text(errno)`: the system's words for it, thread-safe.
std::string errno_text(int error_number);

// Runs `body`; an Error that passes through gains the line "while <context>".
template <class Body>
auto with_context(const std::string& context, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (Error& error) {
    error.add_context(context);
    throw;
  }
}

}  // namespace kiln
