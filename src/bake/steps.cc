// Owner's side of the steps: arguments to JSON, a cell, an answer. See steps_inside.cc for what happens in the cell.
#include "bake/steps.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "bake/step_jobs.h"
#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "base/terminal.h"
#include "container/cell.h"

namespace kiln::bake {

namespace {

Json place_to_json(const StepPlace& place) {
  return {{"work", place.work.native()},
          {"log", place.log.native()},
          {"activity", place.activity},
          {"activity_name", place.activity_name},
          {"epoch", place.epoch}};
}

Json folders_to_json(const std::vector<ModuleFolder>& folders) {
  Json list = Json::array();
  for (const auto& folder : folders)
    list.push_back({{"module", folder.module}, {"folder", folder.folder.native()}, {"files", folder.files}});
  return list;
}

Json accounts_to_json(const std::vector<AccountLayer>& accounts) {
  Json list = Json::array();
  for (const auto& layer : accounts) list.push_back({{"module", layer.module}, {"files", layer.files.native()}});
  return list;
}

Json run_step_to_json(const StepPlace& place, const RunStep& step) {
  Json lower = Json::array(), scripts = Json::array(), binds = Json::array(), lent = Json::object();
  for (const auto& [path, file] : step.lent) lent[path] = file.native();
  for (const auto& folder : step.lower) lower.push_back(folder.native());
  for (const auto& script : step.scripts) {
    scripts.push_back({{"argv", script.argv},
                       {"directory", script.directory},
                       {"env", script.env},
                       {"what", script.what},
                       {"timeout", script.timeout.count()}});
  }
  for (const auto& bind : step.binds)
    binds.push_back({{"from", bind.from.native()}, {"to", bind.to.native()}, {"read_only", bind.read_only}});
  return {{"place", place_to_json(place)},
          {"lower", lower},
          {"tools", step.tools},
          {"lent", lent},
          {"module_folders", folders_to_json(step.module_folders)},
          {"accounts", accounts_to_json(step.accounts)},
          {"scripts", scripts},
          {"binds", binds},
          {"network", step.network},
          {"no_daemons", step.no_daemons},
          {"leftovers", static_cast<int>(step.leftovers)}};
}

// `architecture`: of programs that the job runs; empty where it runs none.
StepResult run_job(const char* job, const Json& arguments, const std::string& architecture) {
  container::CellOptions options;
  options.architecture = architecture;
  const Json answer = container::run_in_cell(job, arguments, std::move(options));
  return {answer.at("size_bytes"), answer.at("files")};
}

// Before mmdebstrap's words about it, which do not say what to do.
void check_keyring(const config::BaseSpec& base) {
  std::error_code ignored;
  if (!base.keyring.empty()) {
    if (fs::is_regular_file(base.keyring, ignored)) return;
    Error error(fmt::format("there is no keyring '{}'", base.keyring));
    error.set_hint("'keyring' in the spec's base names a file of the public keys that the suite's lists are signed with");
    throw error;
  }
  // Whoever has a mirror of his own may have given apt the keys elsewhere.
  if (!base.mirror.empty()) return;
  const bool ubuntu = base.kind == config::BaseSpec::Kind::kUbuntu;
  const std::vector<std::string> places =
      ubuntu ? std::vector<std::string>{"/usr/share/keyrings/ubuntu-archive-keyring.gpg",
                                        "/etc/apt/trusted.gpg.d/ubuntu-keyring-2018-archive.gpg"}
             : std::vector<std::string>{"/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"};
  for (const auto& place : places) {
    if (fs::exists(place, ignored)) return;
  }
  Error error(fmt::format("{}'s public keys are not installed: there is no '{}'", ubuntu ? "Ubuntu" : "Debian", places[0]));
  error.set_hint(fmt::format("sudo apt-get install {}, or name a file with them in the spec: base: {{{}: {}, keyring: FILE}}",
                             ubuntu ? "ubuntu-keyring (in Ubuntu, and in Debian from 13 on)" : "debian-archive-keyring",
                             ubuntu ? "ubuntu" : "debian", base.suite));
  throw error;
}

}  // namespace

StepResult make_base(const StepPlace& place, const config::BaseSpec& base, const std::vector<oci::LayerFile>& layers,
                     const std::filesystem::path& cache) {
  Json images = Json::array();
  for (const auto& layer : layers) {
    images.push_back({{"file", layer.file.native()},
                      {"media_type", layer.blob.media_type},
                      {"digest", layer.blob.digest},
                      {"size_bytes", layer.blob.size_bytes}});
  }
  const bool tarball = base.kind == config::BaseSpec::Kind::kTarball;
  if (base.is_suite()) check_keyring(base);
  return run_job(kBaseJob,
                 {{"place", place_to_json(place)},
                  {"suite", base.suite},
                  {"mirror", base.mirror},
                  {"keyring", base.keyring},
                  {"cache", cache.native()},
                  {"ubuntu", base.kind == config::BaseSpec::Kind::kUbuntu},
                  {"tarball", tarball ? base.tarball : std::string()},
                  {"sha256", base.sha256},
                  {"layers", base.kind == config::BaseSpec::Kind::kOci ? images : Json()},
                  {"architecture", place.architecture}},
                 base.is_suite() ? place.architecture : "");
}

StepResult run_over_layers(const StepPlace& place, const RunStep& step) {
  return run_job(kRunJob, run_step_to_json(place, step), place.architecture);
}

std::optional<std::string> failed_script(const StepPlace& place, const RunStep& step) {
  const auto number = read_file_if_there(place.work / kFailedScript);
  if (!number) return std::nullopt;
  return step.scripts.at(std::stoul(*number)).what;
}

void open_shell_in(const StepPlace& place, const RunStep& step) {
  Json arguments = run_step_to_json(place, step);
  arguments["script"] = std::stoul(read_file(place.work / kFailedScript));
  const bool terminal = has_terminal();
  const char* term = std::getenv("TERM");
  arguments["terminal"] = terminal;
  arguments["term"] = term == nullptr ? "xterm" : term;
  container::CellOptions options;
  options.architecture = place.architecture;
  const auto pass = [&](int fd) {
    Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!copy) fail("cannot copy a descriptor: {}", errno_text(errno));
    options.pass_fds.push_back(std::move(copy));
  };
  if (!terminal) {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) pass(fd);
    container::run_in_cell(kShellJob, arguments, std::move(options));
    return;
  }
  PseudoTerminal pty;
  for (int i = 0; i < 3; ++i) pass(pty.theirs().get());
  pty.relay_while([&] { container::run_in_cell(kShellJob, arguments, std::move(options)); });
}

StepResult make_agent_layer(const StepPlace& place, const AgentStep& step) {
  return run_job(kAgentJob,
                 {{"place", place_to_json(place)},
                  {"agent", step.agent.native()},
                  {"module_folders", folders_to_json(step.module_folders)},
                  {"texts", step.texts},
                  {"accounts", accounts_to_json(step.accounts)}},
                 "");
}

std::vector<bool> same_files(const std::vector<std::pair<std::filesystem::path, std::filesystem::path>>& pairs) {
  if (pairs.empty()) return {};
  Json list = Json::array();
  // File names are bytes; JSON is text.
  for (const auto& [a, b] : pairs) list.push_back({to_base64(a.native()), to_base64(b.native())});
  const Json answer = container::run_in_cell(kCompareJob, {{"pairs", list}});
  return answer.at("same").get<std::vector<bool>>();
}

std::vector<Conflict> real_conflicts(const std::vector<Conflict>& possible,
                                     const std::map<std::string, std::filesystem::path>& folder_of_module) {
  std::vector<std::pair<std::filesystem::path, std::filesystem::path>> pairs;
  for (const auto& conflict : possible)
    pairs.emplace_back(folder_of_module.at(conflict.first) / conflict.path, folder_of_module.at(conflict.second) / conflict.path);
  const auto same = same_files(pairs);
  std::vector<Conflict> real;
  for (std::size_t i = 0; i < possible.size(); ++i) {
    if (!same[i]) real.push_back(possible[i]);
  }
  return real;
}

}  // namespace kiln::bake
