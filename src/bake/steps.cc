// Owner's side of the steps: arguments to JSON, a cell, an answer. See steps_inside.cc for what happens in the cell.
#include "bake/steps.h"

#include "bake/step_jobs.h"
#include "base/error.h"
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

StepResult run_job(const char* job, const Json& arguments) {
  const Json answer = container::run_in_cell(job, arguments);
  return {answer.at("size_bytes"), answer.at("files")};
}

}  // namespace

StepResult make_base(const StepPlace& place, const config::BaseSpec& base, const std::string& architecture) {
  const bool tarball = base.kind == config::BaseSpec::Kind::kTarball;
  return run_job(kBaseJob, {{"place", place_to_json(place)},
                            {"suite", base.suite},
                            {"mirror", base.mirror},
                            {"tarball", tarball ? base.tarball : std::string()},
                            {"architecture", architecture}});
}

StepResult run_over_layers(const StepPlace& place, const RunStep& step) {
  Json lower = Json::array(), scripts = Json::array(), binds = Json::array();
  for (const auto& folder : step.lower) lower.push_back(folder.native());
  for (const auto& script : step.scripts) {
    scripts.push_back({{"argv", script.argv}, {"directory", script.directory}, {"env", script.env}, {"what", script.what}});
  }
  for (const auto& bind : step.binds)
    binds.push_back({{"from", bind.from.native()}, {"to", bind.to.native()}, {"read_only", bind.read_only}});
  return run_job(kRunJob, {{"place", place_to_json(place)},
                           {"lower", lower},
                           {"module_folders", folders_to_json(step.module_folders)},
                           {"accounts", accounts_to_json(step.accounts)},
                           {"scripts", scripts},
                           {"binds", binds},
                           {"network", step.network},
                           {"no_daemons", step.no_daemons},
                           {"leftovers", static_cast<int>(step.leftovers)}});
}

StepResult make_agent_layer(const StepPlace& place, const AgentStep& step) {
  return run_job(kAgentJob, {{"place", place_to_json(place)},
                             {"agent", step.agent.native()},
                             {"module_folders", folders_to_json(step.module_folders)},
                             {"texts", step.texts},
                             {"accounts", accounts_to_json(step.accounts)}});
}

std::vector<Conflict> real_conflicts(const std::vector<Conflict>& possible,
                                     const std::map<std::string, std::filesystem::path>& folder_of_module) {
  if (possible.empty()) return {};
  Json pairs = Json::array();
  for (const auto& conflict : possible) {
    pairs.push_back(
        {(folder_of_module.at(conflict.first) / conflict.path).native(), (folder_of_module.at(conflict.second) / conflict.path).native()});
  }
  const Json answer = container::run_in_cell(kCompareJob, {{"pairs", pairs}});
  std::vector<Conflict> real;
  for (std::size_t i = 0; i < possible.size(); ++i) {
    if (!answer.at("same").at(i).get<bool>()) real.push_back(possible[i]);
  }
  return real;
}

}  // namespace kiln::bake
