// Bake: from an image spec to layers in the store.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "bake/lock.h"
#include "bake/store.h"
#include "config/image_spec.h"

namespace kiln::bake {

// What becomes of the files of a step that failed.
enum class OnError { kCleanup, kKeep, kShell };
// "cleanup", "keep", "shell"; UsageError naming `what` for another word.
OnError parse_on_error(const std::string& what, const std::string& text);

struct BakeOptions {
  config::SearchPath modules = config::SearchPath::for_modules();
  std::size_t jobs = 0;                             // 0: one a processor
  bool dry_run = false;                             // plan only
  OnError on_error = OnError::kCleanup;             // kShell: for the first script that failed, when nothing else runs any more
  bool record = true;                               // false: the image is not written down under its name (its layers are kept, until gc)
  const Lock* lock = nullptr;                       // exactly what it recorded, or an error
  bool base_only = false;                           // nothing above the base
  bool packages_only = false;                       // nothing above the distribution's packages
  std::function<void(const Layer&)> on_layer = {};  // told of each layer that was made, by whichever thread made it; returns soon
  // Told of the image as far as base and packages (all of its modules are named), before its modules are built. Returns soon.
  std::function<void(const Image&)> on_ground = {};
  std::filesystem::path agent = {};  // kiln-node; default: $KILN_AGENT, beside the running program, or PREFIX/lib/kiln
};

struct LayerOutcome {
  Layer layer;
  bool reused = false;
  std::string why;  // "unchanged", "first time", "init.sh of module spark changed", "the layer 'packages' below it changed" …
  double seconds = 0;
};

struct BakeResult {
  Image image;
  std::vector<LayerOutcome> layers;  // lowest first
  bool changed = false;
};

// Bakes what is missing and records the image. Says its progress as activities "layer NAME", "source MODULE/NAME".
// With nothing changed it starts no process, makes no cell and asks no network.
// Error: what failed, "while building layer 'module spark'", the last lines of its output; the store is as whole as before.
BakeResult bake(Store& store, const config::ImageSpec& spec, const BakeOptions& options);

// An image that is its spec's base and nothing else: no agent, no modules. Errors as with bake().
Image bake_base(Store& store, const config::ImageSpec& spec);

// What modules are added to an image for: the layers are named after it, and init.sh is told the stage.
struct Addition {
  std::string words = "at launch";
  std::string stage = "deploy";
  std::string locked_as = {};  // how lock files call it (lock.h): the module that is asked for; empty: they do not know it
};
// The image with modules that it lacks, and those they require, installed on top of its layers. Each step is made once and kept in the
// store as a layer; the image's own record stays as it is. Errors as with bake().
Image add_modules(Store& store, const Image& image, const std::vector<config::ModuleChoice>& choices, const BakeOptions& options,
                  const Addition& addition = {});

// As add_modules(), but only the distribution packages that they bring: all that depends on the image's base and packages alone.
void add_packages(Store& store, const Image& image, const std::vector<config::ModuleChoice>& choices, const BakeOptions& options,
                  const Addition& addition = {});

// The built-in names of an image (docs/modules.md) and their values.
config::Values builtins_of(const Image& image);

// Where kiln-node is; that for another architecture than this machine's is called kiln-node-ARCHITECTURE. Error with the places looked at.
std::filesystem::path find_agent(const std::string& architecture);

}  // namespace kiln::bake
