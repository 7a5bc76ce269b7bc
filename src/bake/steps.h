// The steps of a bake that touch layer files. Each runs as a job in a cell (container/cell.h), in which it is root, and leaves in its
// work folder: fs/ (the layer's files, finished) and files (their list).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "bake/layer_files.h"
#include "base/json.h"
#include "config/image_spec.h"
#include "container/runc.h"

namespace kiln::bake {

// What to do when a disk is full, whoever met that first: a script, or kiln itself.
inline constexpr const char* kFullDiskHint = "`kiln image gc` frees what no image uses; KILN_HOME may name a folder on a larger disk";

// What every step needs.
struct StepPlace {
  std::filesystem::path work;  // the work folder
  std::filesystem::path log;   // what programs say is appended here, line by line
  std::uint64_t activity = 0;  // … and told as this activity's progress
  std::string activity_name;
  std::int64_t epoch = 0;
};

struct StepResult {
  std::int64_t size_bytes = 0;
  std::int64_t files = 0;
};

// The base system of a distribution by mmdebstrap, or from a tarball.
StepResult make_base(const StepPlace& place, const config::BaseSpec& base, const std::string& architecture);

// A module's folder as a sandbox or an image shows it: these files of it, at /usr/lib/kiln/modules/NAME.
struct ModuleFolder {
  std::string module;
  std::filesystem::path folder;
  std::vector<std::string> files;
};

struct Script {
  std::vector<std::string> argv;
  std::string directory = "/";
  std::map<std::string, std::string> env;
  std::string what;  // "init.sh of module 'spark'": for the error
};

// Where accounts are merged from: the files of the layers, lowest first (accounts.h).
struct AccountLayer {
  std::string module;  // empty: base and packages
  std::filesystem::path files;
};

// Runs scripts, one after the other, over layers; what they write is the layer.
struct RunStep {
  std::vector<std::filesystem::path> lower;  // lowest first
  std::vector<ModuleFolder> module_folders;
  std::vector<AccountLayer> accounts;  // merged before the scripts run; empty: not
  std::vector<Script> scripts;
  std::vector<container::Bind> binds;
  bool network = false;
  bool no_daemons = false;  // packages must not start services (policy-rc.d)
  Leftovers leftovers = Leftovers::kModule;
};
StepResult run_over_layers(const StepPlace& place, const RunStep& step);

// The agent's layer: files written outright.
struct AgentStep {
  std::filesystem::path agent;
  std::vector<ModuleFolder> module_folders;
  std::map<std::string, std::string> texts;  // path within the image → content
  std::vector<AccountLayer> accounts;        // all layers below; merged where the topmost does not hold all of them
};
StepResult make_agent_layer(const StepPlace& place, const AgentStep& step);

// Those of the possible conflicts that are real: what the two layers hold differs.
std::vector<Conflict> real_conflicts(const std::vector<Conflict>& possible,
                                     const std::map<std::string, std::filesystem::path>& folder_of_module);

}  // namespace kiln::bake
