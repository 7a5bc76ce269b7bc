// The steps of a bake that touch layer files. Each runs as a job in a cell (container/cell.h), in which it is root, and leaves in its
// work folder: fs/ (the layer's files, finished) and files (their list).
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bake/layer_files.h"
#include "base/json.h"
#include "config/image_spec.h"
#include "container/runc.h"
#include "oci/layer.h"

namespace kiln::bake {

// What to do when a disk is full, whoever met that first: a script, or kiln itself.
inline constexpr const char* kFullDiskHint = "`kiln image gc` frees what no image uses; KILN_HOME may name a folder on a larger disk";

// A file of a work folder: the versions that the package manager shall prefer, where a lock says so (apt_preferences(5)).
inline constexpr const char* kPreferencesFile = "preferences";

// Another: the lists of packages that a base's maker begins with.
inline constexpr const char* kKnownLists = "known-lists";

// What every step needs.
struct StepPlace {
  std::filesystem::path work;  // the work folder
  std::filesystem::path log;   // what programs say is appended here, line by line
  std::uint64_t activity = 0;  // … and told as this activity's progress
  std::string activity_name;
  std::int64_t epoch = 0;
  std::string architecture = {};  // of the programs that run in it
};

struct StepResult {
  std::int64_t size_bytes = 0;
  std::int64_t files = 0;
};

// The base system of a distribution by mmdebstrap, from a tarball, or from the layers of an OCI image.
// `cache`: a folder of the store's file system with packages from earlier times, to which new ones are added.
StepResult make_base(const StepPlace& place, const config::BaseSpec& base, const std::vector<oci::LayerFile>& layers,
                     const std::filesystem::path& cache);

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
  std::string what;                 // "init.sh of module 'spark'": for the error
  std::chrono::seconds timeout{0};  // then it is killed, and has failed; 0: never
};

// Where accounts are merged from: the files of the layers, lowest first (accounts.h).
struct AccountLayer {
  std::string module;  // empty: base and packages
  std::filesystem::path files;
};

// Runs scripts, one after the other, over layers; what they write is the layer.
struct RunStep {
  std::vector<std::filesystem::path> lower;  // lowest first
  // So many of `lower`, the topmost, are tools of the scripts: what is written over their files is no part of the layer.
  std::size_t tools = 0;
  // Files of this machine that the scripts see, by their path there, and no layer gets (lent_files.h).
  std::map<std::string, std::filesystem::path> lent;
  std::vector<ModuleFolder> module_folders;
  std::vector<AccountLayer> accounts;  // merged before the scripts run; empty: not
  std::vector<Script> scripts;
  std::vector<container::Bind> binds;
  bool network = false;
  bool no_daemons = false;  // packages must not start services (policy-rc.d)
  Leftovers leftovers = Leftovers::kModule;
};
StepResult run_over_layers(const StepPlace& place, const RunStep& step);

// The name of the script of the step that failed, where that is why run_over_layers() failed.
std::optional<std::string> failed_script(const StepPlace& place, const RunStep& step);
// A shell in the sandbox of that step, with the files as they were left and the environment of the script that failed: at standard input
// and output, whether they are a terminal or not. Returns when the shell ends.
void open_shell_in(const StepPlace& place, const RunStep& step);

// The agent's layer: files written outright.
struct AgentStep {
  std::filesystem::path agent;
  std::vector<ModuleFolder> module_folders;
  std::map<std::string, std::string> texts;  // path within the image → content
  std::vector<AccountLayer> accounts;        // all layers below; merged where the topmost does not hold all of them
};
StepResult make_agent_layer(const StepPlace& place, const AgentStep& step);

// For each pair of layer files whether type, content, mode and owner are the same (same_file(), in a cell).
std::vector<bool> same_files(const std::vector<std::pair<std::filesystem::path, std::filesystem::path>>& pairs);

// Those of the possible conflicts that are real: what the two layers hold differs.
std::vector<Conflict> real_conflicts(const std::vector<Conflict>& possible,
                                     const std::map<std::string, std::filesystem::path>& folder_of_module);

}  // namespace kiln::bake
