#include "cli/docs.h"

#include <algorithm>

#include "base/files.h"
#include "base/strings.h"
#include "cli/command.h"

namespace kiln::cli {

namespace {

std::string file_name(const CommandEntry& entry) {
  std::string name = entry.name;
  std::replace(name.begin(), name.end(), ' ', '-');
  return name + ".md";
}

std::vector<std::string> long_options(const CommandEntry& entry) {
  std::function<Response()> run;
  const auto app = make_app(entry, run);
  std::vector<std::string> names;
  for (const auto* option : app->get_options()) {
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// Text as roff shows it: a leading dot or quote is no request, backslashes and minus signs are themselves.
std::string roff(const std::string& text) {
  std::string escaped;
  for (const auto& line : split(text, '\n')) {
    if (line.starts_with(".") || line.starts_with("'")) escaped += "\\&";
    for (const char letter : line) {
      if (letter == '\\')
        escaped += "\\e";
      else if (letter == '-')
        escaped += "\\-";
      else
        escaped += letter;
    }
    escaped += "\n";
  }
  return escaped;
}

std::string man_page() {
  std::string page = ".TH KILN 1 \"\" \"kiln " KILN_VERSION
                     "\" \"User Commands\"\n.SH NAME\nkiln \\- bake Spark machine images, fire up clusters from them\n"
                     ".SH SYNOPSIS\n.B kiln\n.I COMMAND\n[options]\n.SH DESCRIPTION\n.nf\n" +
                     roff(overview_text()) + ".fi\n";
  for (const auto& entry : commands()) page += fmt::format(".SH KILN {}\n.nf\n{}.fi\n", entry.name, roff(help_text(entry)));
  return page +
         ".SH ENVIRONMENT\n.TP\n.B KILN_HOME\nwhere layers, images and clusters are kept\n.TP\n.B KILN_MODULES\nfolders with modules, "
         "separated by colons\n"
         ".TP\n.B NO_COLOR\nno colours\n";
}

std::string bash_completion() {
  std::string cases;
  std::string names;
  for (const auto& entry : commands()) {
    const auto words = split(entry.name, ' ');
    if (words.size() == 1 || (names.find(" " + words[0] + " ") == std::string::npos)) names += " " + words[0] + " ";
    cases += fmt::format("    '{}') words='{}' ;;\n", entry.name, join(long_options(entry), " "));
  }
  std::string below;
  for (const auto& entry : commands()) {
    const auto words = split(entry.name, ' ');
    if (words.size() == 2) below += fmt::format("    {}) subs=\"$subs {}\" ;;&\n", words[0], words[1]);
  }
  // Cluster names come from kiln itself: it answers in a few milliseconds.
  return fmt::format(R"bash(# bash completion for kiln
_kiln() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" first="${{COMP_WORDS[1]}}" command words='' subs=''
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{}" -- "$current"))
    return
  fi
  case "$first" in
{}  esac
  command=$first
  if [ -n "$subs" ]; then
    if [ "$COMP_CWORD" -eq 2 ]; then
      COMPREPLY=($(compgen -W "$subs" -- "$current"))
      return
    fi
    command="$first ${{COMP_WORDS[2]}}"
  fi
  case "$command" in
{}  esac
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
    *)
      if [ "$COMP_CWORD" -eq 2 ] && [ "$command" != launch ] && [ "$command" != bake ]; then
        COMPREPLY=($(compgen -W "$(kiln list --json 2>/dev/null | sed -n 's/^ *"name": "\(.*\)",*$/\1/p')" -- "$current"))
      else
        COMPREPLY=($(compgen -f -- "$current"))
      fi ;;
  esac
}}
complete -F _kiln kiln
)bash",
                     trim(names), below, cases);
}

std::string zsh_completion() {
  return "#compdef kiln\n# zsh reads the bash completion through its compatibility layer\nautoload -U +X bashcompinit && bashcompinit\n"
         "source \"${0:A:h}/../../bash-completion/completions/kiln\"\n";
}

std::string fish_completion() {
  std::string text = "# fish completion for kiln\ncomplete -c kiln -f\n";
  for (const auto& entry : commands()) {
    const auto words = split(entry.name, ' ');
    const std::string condition = words.size() == 1 ? "__fish_use_subcommand" : "__fish_seen_subcommand_from " + words[0];
    text += fmt::format("complete -c kiln -n '{}' -a {} -d {}\n", condition, words.back(), shell_quote(entry.summary));
    for (const auto& option : long_options(entry)) {
      text += fmt::format("complete -c kiln -n '__fish_seen_subcommand_from {}' -l {}\n", words.back(), option.substr(2));
    }
  }
  return text;
}

}  // namespace

void write_docs(const std::filesystem::path& folder) {
  make_folder(folder / "commands");
  make_folder(folder / "completions");
  std::string overview = "# The commands\n\nMade from the same text as `--help` by `make docs`.\n";
  std::string group;
  for (const auto& entry : commands()) {
    if (entry.group != group) {
      group = entry.group;
      overview += fmt::format("\n## {}\n\n", group);
    }
    overview += fmt::format("- [kiln {}]({}): {}\n", entry.name, file_name(entry), entry.summary);
    write_file_atomically(folder / "commands" / file_name(entry),
                          fmt::format("# kiln {}\n\n```text\n{}```\n", entry.name, help_text(entry)));
  }
  write_file_atomically(folder / "commands" / "README.md", overview);
  write_file_atomically(folder / "kiln.1", man_page());
  write_file_atomically(folder / "completions" / "kiln.bash", bash_completion());
  write_file_atomically(folder / "completions" / "_kiln", zsh_completion());
  write_file_atomically(folder / "completions" / "kiln.fish", fish_completion());
}

}  // namespace kiln::cli
