// Commands register themselves, one file each: a new command is a new file, and nothing else.
//
//   static RegisterCommand command{{.name = "list", .group = "Clusters", .summary = "list clusters", …, .define = [](CLI::App& app) {
//     …options bound to variables…
//     return [=] { return Response{…}; };
//   }}};
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace kiln::cli {

// What a command has to say: the text for people and --json are both made from it.
struct Response {
  Json json = Json::object();
  std::string text;   // printed as it is, with a newline added where it lacks one
  int exit_code = 0;  // the job's own for submit, exec, shell
};

struct CommandEntry {
  std::string name;                                                // "launch", "image list"
  std::string group;                                               // heading in `kiln --help`
  std::string summary;                                             // one line, a verb first, no full stop
  std::string description = {};                                    // paragraphs for --help and the docs page
  std::vector<std::pair<std::string, std::string>> examples = {};  // command line, what it does
  // Declares the options and gives the function that runs the command once they are parsed.
  std::function<std::function<Response()>(CLI::App&)> define;
  // After so many positional words the rest belongs to somebody else (an application's arguments) and is not parsed. 0: none.
  std::size_t words_before_rest = 0;
};

struct RegisterCommand {
  explicit RegisterCommand(CommandEntry entry);
};
// By group, then name.
std::vector<CommandEntry> commands();

// Words that were not parsed: what follows `--`, and what follows the last word of one's own (words_before_rest).
struct Rest {
  std::vector<std::string> trailing;  // an application's arguments
  std::vector<std::string> after_dashes;
  bool dashes = false;
};
Rest& rest();

// Options that every command has.
struct GlobalOptions {
  bool json = false;
  bool quiet = false;
  bool verbose = false;
  bool help = false;
};
GlobalOptions& global_options();

// The App of one command with its options, as --help, the docs and the shell completions show it.
std::unique_ptr<CLI::App> make_app(const CommandEntry& entry, std::function<Response()>& run);
std::string help_text(const CommandEntry& entry);
std::string overview_text();

// Parses and runs one command line (without the program's name). Throws UsageError and whatever the command throws.
int dispatch(std::vector<std::string> words);

}  // namespace kiln::cli
