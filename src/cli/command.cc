#include "cli/command.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "base/strings.h"
#include "cli/docs.h"
#include "cli/terminal.h"

namespace kiln::cli {

namespace {

// In the order of `kiln --help`.
constexpr const char* kGroups[] = {"Images", "Clusters", "Work", "Networks", "Modules", "Upkeep"};

std::map<std::string, CommandEntry>& registry() {
  static std::map<std::string, CommandEntry> all;
  return all;
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// Cuts off what the command does not parse itself.
std::vector<std::string> take_rest(const CommandEntry& entry, const CLI::App& app, std::vector<std::string> words) {
  const auto dashes = std::find(words.begin(), words.end(), "--");
  if (dashes != words.end()) {
    rest().dashes = true;
    rest().after_dashes.assign(dashes + 1, words.end());
    words.erase(dashes, words.end());
  }
  if (entry.words_before_rest == 0) return words;
  std::size_t positionals = 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word.size() > 1 && word[0] == '-') {
      const auto* option = app.get_option_no_throw(word.substr(0, word.find('=')));
      if (option != nullptr && option->get_items_expected_max() > 0 && word.find('=') == std::string::npos) ++i;  // its value
      continue;
    }
    if (++positionals == entry.words_before_rest) {
      rest().trailing.assign(words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
      words.resize(i + 1);
      break;
    }
  }
  return words;
}

[[noreturn]] void fail_unknown_command(const std::string& word) {
  std::vector<std::string> names;
  for (const auto& [name, entry] : registry()) names.push_back(name);
  std::vector<std::string> below;  // "image" → image list, image show …
  for (const auto& name : names) {
    if (name.starts_with(word + " ")) below.push_back("kiln " + name);
  }
  if (!below.empty()) {
    UsageError error(fmt::format("`kiln {}` needs one more word", word));
    error.set_hint("there are: " + join(below, ", "));
    throw error;
  }
  UsageError error(fmt::format("there is no command '{}'", word));
  const auto near = nearest(word, names);
  error.set_hint(near ? fmt::format("did you mean `kiln {}`?", *near) : "`kiln --help` lists them");
  throw error;
}

[[noreturn]] void rethrow_as_usage(const CommandEntry& entry, const CLI::App& app, const CLI::ParseError& parse_error) {
  std::string message = parse_error.what();
  std::string hint = fmt::format("`kiln {} --help` shows what it takes", entry.name);
  if (dynamic_cast<const CLI::ExtrasError*>(&parse_error) != nullptr) {
    const auto extras = app.remaining();
    const std::string& word = extras.empty() ? message : extras.front();
    if (word.starts_with("-")) {
      message = fmt::format("`kiln {}` has no option '{}'", entry.name, word);
      if (const auto near = nearest(word.substr(0, word.find('=')), option_names(app))) hint = fmt::format("did you mean '{}'?", *near);
    } else {
      message = fmt::format("`kiln {}` does not know what to do with '{}'", entry.name, word);
    }
  }
  UsageError error(message);
  error.set_hint(hint);
  throw error;
}

}  // namespace

RegisterCommand::RegisterCommand(CommandEntry entry) {
  const std::string name = entry.name;
  if (!registry().emplace(name, std::move(entry)).second) {
    std::fprintf(stderr, "kiln: two commands are called '%s'\n", name.c_str());
    std::abort();  // before main: nobody could catch an exception
  }
}

std::vector<CommandEntry> commands() {
  std::vector<CommandEntry> ordered;
  for (const auto* group : kGroups) {
    for (const auto& [name, entry] : registry()) {
      if (entry.group == group) ordered.push_back(entry);
    }
  }
  return ordered;
}

Rest& rest() {
  static Rest words;
  return words;
}

GlobalOptions& global_options() {
  static GlobalOptions options;
  return options;
}

std::unique_ptr<CLI::App> make_app(const CommandEntry& entry, std::function<Response()>& run) {
  auto app = std::make_unique<CLI::App>(entry.summary, "kiln " + entry.name);
  app->set_help_flag();  // --help is ours: its text is also the docs page
  run = entry.define(*app);
  auto& global = global_options();
  app->add_flag("--json", global.json, "print the result as JSON")->group("Everywhere");
  app->add_flag("-q,--quiet", global.quiet, "no progress")->group("Everywhere");
  app->add_flag("-v,--verbose", global.verbose, "more about what is being done")->group("Everywhere");
  app->add_flag("-h,--help", global.help, "this text")->group("Everywhere");
  return app;
}

std::string help_text(const CommandEntry& entry) {
  std::function<Response()> run;
  const auto app = make_app(entry, run);
  std::string usage = "kiln " + entry.name;
  std::string words, options;
  std::string group;
  for (const auto* option : app->get_options()) {
    std::string left;
    if (option->get_positional()) {
      const std::string name = option->get_name(true);
      const std::string shown = option->get_items_expected_max() > 1 ? name + "…" : name;
      usage += option->get_required() ? " " + shown : " [" + shown + "]";
      words += fmt::format("  {:<26} {}\n", shown, option->get_description());
      continue;
    }
    std::vector<std::string> names;
    for (const auto& name : option->get_snames()) names.push_back("-" + name);
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
    left = join(names, ", ");
    if (option->get_items_expected_max() > 0)
      left += " " + (option->get_type_name().empty() ? std::string("VALUE") : option->get_type_name());
    if (group != option->get_group()) {
      group = option->get_group();
      options += fmt::format("\n{}:\n", group);
    }
    options += fmt::format("  {:<26} {}\n", left, option->get_description());
  }
  usage += " [options]";
  if (entry.words_before_rest > 0) usage += " [ARGS…]";
  std::string text = fmt::format("kiln {}: {}\n\nUsage: {}\n", entry.name, entry.summary, usage);
  if (!entry.description.empty()) text += "\n" + entry.description + (entry.description.ends_with("\n") ? "" : "\n");
  if (!words.empty()) text += "\nWords:\n" + words;
  text += options;
  if (!entry.examples.empty()) {
    text += "\nExamples:\n";
    for (const auto& [line, what] : entry.examples) text += fmt::format("  {}\n      {}\n", line, what);
  }
  return text;
}

std::string overview_text() {
  std::string text =
      "kiln: bake Spark machine images, fire up clusters from them\n\n"
      "Usage: kiln COMMAND [options]      `kiln COMMAND --help` tells more\n\n"
      "First steps:\n"
      "  kiln doctor                      what this machine lacks, and how to mend it\n"
      "  kiln launch demo --workers 2     a real Spark cluster on this machine\n"
      "  kiln submit demo job.py          run a job on it\n"
      "  kiln destroy demo                and it is gone\n";
  std::string group;
  for (const auto& entry : commands()) {
    if (entry.group != group) {
      group = entry.group;
      text += fmt::format("\n{}:\n", group);
    }
    text += fmt::format("  {:<16} {}\n", entry.name, entry.summary);
  }
  return text + "\nExit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted; submit, exec and shell give the job's own.\n";
}

int dispatch(std::vector<std::string> words) {
  if (words.empty() || words[0] == "--help" || words[0] == "-h" || (words[0] == "help" && words.size() == 1)) {
    print_out(overview_text());
    return words.empty() ? static_cast<int>(ExitCode::kUsage) : 0;
  }
  if (words[0] == "--version" || words[0] == "version") {
    print_out("kiln " KILN_VERSION "\n");
    return 0;
  }
  if (words[0] == "__docs" && words.size() == 2) {  // for `make docs` and `make install`
    write_docs(words[1]);
    return 0;
  }
  if (words[0] == "help") {
    words.erase(words.begin());
    words.push_back("--help");
  }
  auto found = registry().end();
  std::size_t used = 1;
  if (words.size() > 1) {
    found = registry().find(words[0] + " " + words[1]);
    if (found != registry().end()) used = 2;
  }
  if (found == registry().end()) found = registry().find(words[0]);
  if (found == registry().end()) fail_unknown_command(words[0]);
  const CommandEntry& entry = found->second;
  words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(used));

  std::function<Response()> run;
  const auto app = make_app(entry, run);
  words = take_rest(entry, *app, std::move(words));
  if (std::find_if(words.begin(), words.end(), [](const auto& word) { return word == "--help" || word == "-h"; }) != words.end()) {
    print_out(help_text(entry));
    return 0;
  }
  try {
    std::reverse(words.begin(), words.end());  // CLI11 takes them last first
    app->parse(words);
  } catch (const CLI::ParseError& error) {
    rethrow_as_usage(entry, *app, error);
  }
  const ProgressDisplay progress(global_options());
  const Response response = run();
  if (global_options().json) {
    print_out(response.json.dump(2) + "\n");
  } else if (!response.text.empty()) {
    print_out(response.text.ends_with("\n") ? response.text : response.text + "\n");
  }
  return response.exit_code;
}

}  // namespace kiln::cli
