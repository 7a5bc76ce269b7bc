#include "bake/scripts.h"

#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

namespace kiln::bake {

namespace {

// How the script is started: by what its first line names; /bin/sh -eu is the rule, also for "#!/bin/sh" itself.
std::vector<std::string> command_for(const fs::path& script_here, const std::string& script_there) {
  const std::string text = read_file(script_here);
  if (text.starts_with("#!")) {
    const std::string line(trim(std::string_view(text).substr(2, text.find('\n') - 2)));
    const std::size_t space = line.find_first_of(" \t");
    const std::string interpreter = line.substr(0, space);
    if (!interpreter.empty() && interpreter != "/bin/sh") {
      std::vector<std::string> argv = {interpreter};
      // As the kernel does it: the rest of the line is one argument.
      if (space != std::string::npos) argv.emplace_back(trim(std::string_view(line).substr(space)));
      argv.push_back(script_there);
      return argv;
    }
  }
  return {"/bin/sh", "-eu", script_there};
}

}  // namespace

std::map<std::string, std::string> plain_environment(std::int64_t epoch, bool network) {
  std::map<std::string, std::string> env = {{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
                                            {"HOME", "/root"},
                                            {"LANG", "C.UTF-8"},
                                            {"TZ", "UTC"},
                                            {"PYTHONHASHSEED", "0"},
                                            {"SOURCE_DATE_EPOCH", std::to_string(epoch)}};
  if (!network) return env;
  for (const char* name : {"http_proxy", "https_proxy", "no_proxy", "ftp_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}) {
    if (const char* value = std::getenv(name)) env[name] = value;
  }
  return env;
}

Script module_script(const PlannedModule& module, const config::Values& builtins, const std::string& stage, const std::string& file,
                     std::int64_t epoch, std::size_t jobs, const SourceFolders& sources, bool network) {
  const std::string& name = module.manifest.name;
  Script script;
  script.directory = "/usr/lib/kiln/modules/" + name;
  script.argv = command_for(module.manifest.folder / file, script.directory + "/" + file);
  script.what = fmt::format("{} of module '{}'", file, name);
  script.timeout = module.manifest.timeout;
  script.env = plain_environment(epoch, network);
  script.env["KILN_STAGE"] = stage;
  script.env["KILN_MODULE"] = name;
  script.env["KILN_MODULE_DIR"] = script.directory;
  script.env["KILN_JOBS"] = std::to_string(jobs);
  for (const auto& [parameter, value] : module.params) script.env["KILN_PARAM_" + config::variable_name(parameter)] = value;
  for (const auto& [builtin, value] : builtins) script.env["KILN_" + config::variable_name(builtin)] = value;
  for (const auto& [source, place] : sources) script.env["KILN_SOURCE_" + config::variable_name(source)] = place.native();
  return script;
}

void prefer_versions(RunStep& step, const fs::path& preferences) {
  const fs::path there = "/run/kiln/preferences";
  step.binds.push_back({preferences, there, true});
  for (auto& script : step.scripts) script.env["KILN_PREFERENCES"] = there;
}

}  // namespace kiln::bake
