#include "bake/scripts.h"

#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

namespace kiln::bake {

namespace {

// The same whoever bakes, wherever: nothing of the host's environment but the way to its network.
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

Script module_script(const PlannedModule& module, const config::Values& builtins, const std::string& stage, const std::string& file,
                     std::int64_t epoch, std::size_t jobs, const std::map<std::string, MountedSource>& sources, bool network) {
  const std::string& name = module.manifest.name;
  Script script;
  script.directory = "/usr/lib/kiln/modules/" + name;
  script.argv = command_for(module.manifest.folder / file, script.directory + "/" + file);
  script.what = fmt::format("{} of module '{}'", file, name);
  script.env = plain_environment(epoch, network);
  script.env["KILN_STAGE"] = stage;
  script.env["KILN_MODULE"] = name;
  script.env["KILN_MODULE_DIR"] = script.directory;
  script.env["KILN_JOBS"] = std::to_string(jobs);
  for (const auto& [parameter, value] : module.params) script.env["KILN_PARAM_" + config::variable_name(parameter)] = value;
  for (const auto& [builtin, value] : builtins) script.env["KILN_" + config::variable_name(builtin)] = value;
  for (const auto& [source, mounted] : sources) script.env["KILN_SOURCE_" + config::variable_name(source)] = mounted.target.native();
  return script;
}

RunStep package_step(const std::vector<std::string>& packages, const fs::path& lists, const fs::path& cache, std::int64_t epoch) {
  // Sandbox::User: the cached files belong to kiln's user. unsafe-io: the layer is synced as a whole. Recommends: an image holds what
  // modules name. Pipelining, retries and languages are apt's own affair but for the translations, which nobody reads here.
  static constexpr const char* kCommand =
      "set -eu\n"
      "apt_get() { apt-get -q -y -o APT::Sandbox::User=root -o Acquire::Retries=3 -o Acquire::Languages=none"
      " -o APT::Keep-Downloaded-Packages=true -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Dpkg::Use-Pty=0"
      " -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
      " -o APT::Update::Error-Mode=any \"$@\"; }\n"
      "apt_get update\n"
      "apt_get --no-install-recommends install \"$@\"\n";
  Script script;
  script.argv = {"/bin/sh", "-c", kCommand, "packages"};
  script.argv.insert(script.argv.end(), packages.begin(), packages.end());
  script.env = plain_environment(epoch, true);
  script.env["DEBIAN_FRONTEND"] = "noninteractive";
  script.env["DEBCONF_NONINTERACTIVE_SEEN"] = "true";
  script.what = "installing the packages " + join(packages, ", ");

  RunStep step;
  step.scripts = {std::move(script)};
  step.binds = {{lists, "/var/lib/apt/lists", false}, {cache, "/var/cache/apt/archives", false}};
  step.network = true;
  step.no_daemons = true;
  step.leftovers = Leftovers::kPackages;
  return step;
}

}  // namespace kiln::bake
