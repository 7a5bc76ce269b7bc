// The plan of a bake: which layers an image has, what each stands on, and the key that says whether it exists already.
//
// base → packages → one layer for each module with an init.sh (over the layers of the modules it requires) → warm → agent.
// The warm layer stands on the modules that have a warm.sh, those they require or come after, and those that require or come after them:
// what concerns none of them costs no warming up. The agent's stands on all.
//
// A key is the SHA-256 of the layer's inputs as JSON with sorted members. The inputs, kept in layer.json for --explain:
//   format, kind, architecture, epoch      all layers; `format` counts how kiln makes layers
//   below: [{name, key}…]                  all but base
//   distribution, suite, mirror | tarball | sources  base
//   packages: [NAME…], family              packages; the latter where it is not Debian's
//   module, network, builtins              a module's
//   modules: {NAME: {files: {PATH: "DIGEST MODE"}, params: {…}}}   a module's (its own), warm's and agent's
//   sources: {NAME: DIGEST}                a module's
//   packages, family, module               build; as above, and for whom
//   agent, image, bill                     agent; `bill` counts how the bill of materials is made (bill.h)
//   lock                                   base and packages of a locked bake, where the store has others under the usual key (lock.h)
//   stage                                  a module's that is added to a finished image
// What only matters on a node (setup.sh, test.sh, run.sh, drain.sh, busy.sh, service definitions in module.yaml) goes into the agent layer
// alone: editing it costs no rebuild of the software. A sandbox shows init.sh the module's other files only; warm.sh sees setup.sh too.
//
// What a module needs only to be built (`build:` in its manifest) is a layer "build NAME" of its own: packages over all that the module
// stands on. The module's layer is made over it, but nothing of it is in the image: no other layer stands on it, and it is made only where
// the module's layer is not there. What init.sh changes of its files is thrown away with it.
//
// Modules that are added to a finished image, at launch or to make a machine of it, are laid over it as if installed on a node:
// the image's layers → the packages it lacks → a layer for each added module → warm → agent, the last four named "… at launch".
// They stand on all of the image's layers. Only the packages stand on its base and packages where they can (ground.h): what changes in a
// module then costs no installing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bake/sources.h"
#include "bake/store.h"
#include "base/json.h"
#include "config/image_spec.h"

namespace kiln::bake {

inline constexpr int kLayerFormat = 1;

struct PlannedModule {
  config::Module manifest;
  config::Values params;                     // effective
  config::Values values;                     // with the built-in names: what fills placeholders
  std::vector<std::size_t> below;            // the modules it requires, transitively, in the plan's order
  std::map<std::string, std::string> files;  // path in its folder → "digest mode"
  std::vector<SourceRequest> sources;
  bool has(const std::string& file) const { return files.count(file) != 0; }
  bool is_built() const { return manifest.build && config::holds(manifest.build->condition, params); }
  // Whether its init.sh may reach the network.
  bool has_network() const { return manifest.network || (is_built() && manifest.build->network); }
};

struct PlannedLayer {
  // kBuild: what a module is built with, of which the image has nothing; kGiven: of the image that is added to
  enum class Kind { kBase, kPackages, kModule, kWarm, kAgent, kGiven, kBuild };
  Kind kind = Kind::kBase;
  std::string name;
  std::string key;  // empty: not known before its sources are fetched
  Json inputs;
  std::vector<std::size_t> below;  // indices of layers, lowest first
  std::size_t module = 0;          // kModule, kBuild: index in the plan's modules
};

struct Plan {
  config::ImageSpec spec;
  config::Values builtins;
  std::vector<PlannedModule> modules;  // in their order: required ones first, then `after`, then by name
  std::vector<PlannedLayer> layers;    // lowest first
  std::string digest() const;          // of the keys of the image's layers
};

// The modules of the image with those they require. UsageError for one that is not there, requirements in a circle, or parameters that
// a module does not have.
std::vector<PlannedModule> plan_modules(const config::ImageSpec& spec, const config::SearchPath& path, const config::Values& builtins);

// The union of the distribution packages that the image and its modules ask for, of a family (packages.h), filled in.
std::set<std::string> distribution_packages(const config::ImageSpec& spec, const std::vector<PlannedModule>& modules,
                                            const std::string& family);

// Without those that `image` has, whatever parameters it has them with.
std::vector<PlannedModule> without_modules_of(const Image& image, std::vector<PlannedModule> modules);
// Whether another value of the module's parameter makes another layer: its packages, sources or init.sh use it.
bool concerns_baking(const config::Module& module, const std::string& parameter);

// `digest_of` gives the digest of a source as far as it is known.
using SourceDigests = std::function<std::optional<std::string>(const SourceRequest& request)>;
// A further input of the layers base and packages, given those that are known; empty: none. lock.h says what for.
using LockDigest = std::function<std::string(const PlannedLayer& layer)>;
struct Known {
  SourceDigests digest_of;
  // The package family (packages.h) of a base, by its layer's key; nothing when the layer is not there. Suites' is known without.
  std::function<std::optional<std::string>(const std::string& key)> family_of = [](const std::string&) { return std::nullopt; };
};
// The finished image to which modules are added.
struct Ground {
  const Image& image;
  std::string words;  // behind the names of the layers: "at launch"
  std::string stage;  // what init.sh is told
  bool packages_over_modules = false;
};
// `on`: null for a bake.
Plan make_plan(const config::ImageSpec& spec, std::vector<PlannedModule> modules, const std::string& agent_digest, const Known& known,
               const Ground* on = nullptr, const LockDigest& lock_of = {});

// The files that a sandbox shows to a module's script `script` ("init.sh", "warm.sh").
std::map<std::string, std::string> files_for_script(const PlannedModule& module, const std::string& script);

// Why a layer with these inputs is not the one of the earlier bake: "init.sh of module spark changed", … Never empty.
std::string explain_change(const Json& before, const Json& now);

}  // namespace kiln::bake
