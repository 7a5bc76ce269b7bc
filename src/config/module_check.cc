// `kiln module check`: the manifest, and beside it what only the folder can tell: the scripts and the files that sources name.
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "base/files.h"
#include "base/process.h"
#include "base/strings.h"
#include "config/manifest.h"
#include "config/names.h"

namespace kiln::config {

namespace {

constexpr const char* kScripts[] = {"init.sh", "setup.sh", "warm.sh", "test.sh", "run.sh", "drain.sh", "busy.sh"};

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// "#!/usr/bin/env bash" → "bash"; no such line → "sh".
std::string interpreter_of(const std::string& script) {
  const std::string line = first_line(script);
  if (!line.starts_with("#!")) return "sh";
  std::vector<std::string> words;
  for (const auto& word : split(line.substr(2), ' ')) {
    if (!trim(word).empty()) words.emplace_back(trim(word));
  }
  if (words.empty()) return "";
  std::string name = fs::path(words[0]).filename().string();
  for (std::size_t i = 1; name == "env" && i < words.size(); ++i) {
    if (!words[i].starts_with("-")) return fs::path(words[i]).filename().string();
  }
  return name;
}

// The command that parses a script without running it; empty: nobody here can.
std::vector<std::string> syntax_check(const std::string& interpreter) {
  if (interpreter == "sh" || interpreter == "dash" || interpreter == "bash" || interpreter == "ksh")
    return {interpreter == "ksh" ? "sh" : interpreter, "-n"};
  // compile() and not py_compile: that would leave a __pycache__ in the module.
  static const std::string kPython = "import sys; compile(open(sys.argv[1], 'rb').read(), sys.argv[1], 'exec')";
  if (interpreter.starts_with("python")) return {"python3", "-c", kPython};
  return {};
}

// The number after `mark` in a message of a shell ("init.sh: 7: Syntax error", "init.sh: line 7: syntax") or Python ("line 7").
int line_in_message(const std::string& message, const std::string& file) {
  const std::size_t named = message.find(file);
  if (named == std::string::npos) return 0;
  const std::size_t digit = message.find_first_of("0123456789", named + file.size());
  int line = 0;
  if (digit != std::string::npos) std::from_chars(message.data() + digit, message.data() + message.size(), line);
  return line;
}

void check_script(const fs::path& path, Problems& problems) {
  const std::string file = path.string();
  std::error_code code;
  const auto status = fs::symlink_status(path, code);
  if (!fs::exists(status)) return;
  std::string script;
  const auto refuse = [&](Position at, const std::string& what, std::string hint = {}) {
    throw ConfigError(file, script, at, what, std::move(hint));
  };
  problems.attempt([&] {
    if (!fs::is_regular_file(fs::status(path, code))) refuse({}, "a script must be a regular file");
    if (::access(file.c_str(), R_OK) != 0) refuse({}, "cannot read the script: " + errno_text(errno), "chmod a+r " + shell_quote(file));
    script = read_file(path);
    // "/bin/sh^M: not found" on the node is a riddle; here it is a line.
    if (const std::size_t cr = first_line(script).find('\r'); cr != std::string::npos) {
      refuse({1, static_cast<int>(cr) + 1}, "the lines end with CR LF", "save the script with Unix line ends");
    }
    if (script.empty()) refuse({}, "the script is empty", "remove it: every script is optional");
    const std::string interpreter = interpreter_of(script);
    if (interpreter.empty()) refuse({1, 1}, "'#!' names no interpreter");
    std::vector<std::string> command = syntax_check(interpreter);
    if (command.empty() || !find_program(command[0])) return;
    command.push_back(file);
    ProcessOptions options;
    // Parsing takes milliseconds; 30 s is for a machine that is very busy.
    options.timeout = std::chrono::seconds(30);
    options.extra_environment = {{"LC_ALL", "C"}};
    const ProcessResult result = run(command, options);
    if (result.ok()) return;
    std::string why = interpreter.starts_with("python") ? std::string(trim(result.error)) : first_line(result.error);
    const int line = line_in_message(why, file);
    if (const std::size_t last = why.rfind('\n'); last != std::string::npos) why = why.substr(last + 1);
    if (why.starts_with(file + ": ")) why = why.substr(file.size() + 2);
    refuse({line, line > 0 ? 1 : 0}, "not valid " + interpreter + ": " + why);
  });
}

// Files of the module that its sources name, each at its place in the manifest.
void check_source_files(const Value& root, const fs::path& folder, Problems& problems) {
  const auto check = [&](const Value& location) {
    if (!location.is_map()) return;
    const Value file = location["file"];
    if (!file.is_scalar() || has_placeholder(file.as_string("'file'"))) return;
    problems.attempt([&] {
      std::error_code code;
      if (!fs::exists(folder / file.as_string("'file'"), code)) file.fail("the module has no file " + in_quotes(file.as_string("'file'")));
    });
  };
  if (!root.is_map() || !root["sources"].is_map()) return;
  for (const auto& [name, value] : root["sources"].as_map("'sources'")) {
    if (!value.is_list()) check(value);
    if (value.is_list()) {
      for (const auto& location : value.as_list("a source")) check(location);
    }
  }
}

// A module with nothing to install, run or require is most often one whose scripts have other names than kiln looks for.
void check_does_something(const Module& module, const fs::path& folder, const std::string& file, Problems& problems) {
  std::error_code code;
  for (const char* script : kScripts) {
    if (fs::exists(folder / script, code)) return;
  }
  if (!module.packages.empty() || !module.services.empty() || !module.commands.empty() || !module.requires_modules.empty()) return;
  problems.attempt([&] {
    throw ConfigError(file, {}, {}, "the module does nothing", "it has no script, no packages, no services and requires nothing");
  });
}

}  // namespace

std::vector<ConfigError> find_module_problems(const fs::path& folder) {
  std::vector<ConfigError> found;
  Problems problems(&found);
  const fs::path whole = fs::absolute(folder).lexically_normal();
  const std::string name = (whole.filename().empty() ? whole.parent_path() : whole).filename().string();
  const std::string file = (folder / "module.yaml").string();
  problems.attempt([&] {
    try {
      check_module_name(name);
    } catch (const UsageError& error) {
      throw ConfigError(folder.string(), {}, {}, error.message(), error.hint_text());
    }
  });
  problems.attempt([&] {
    std::string text;
    try {
      text = read_config_file(file);
    } catch (const Error& error) {
      throw ConfigError(file, {}, {}, error.message(), error.hint_text());
    }
    const Value root = Value::parse(file, text);
    const std::size_t before = found.size();
    const Module module = read_manifest(name, root, problems);
    check_source_files(root, folder, problems);
    // With a broken manifest one cannot tell.
    if (found.size() == before) check_does_something(module, folder, file, problems);
  });
  for (const char* script : kScripts) check_script(folder / script, problems);
  return found;
}

std::vector<std::string> check_module(const fs::path& folder) {
  std::vector<std::string> lines;
  for (const auto& problem : find_module_problems(folder)) lines.push_back(problem.one_line());
  return lines;
}

}  // namespace kiln::config
