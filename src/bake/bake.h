// Bake: from an image spec to layers in the store.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "bake/store.h"
#include "config/image_spec.h"

namespace kiln::bake {

struct BakeOptions {
  config::SearchPath modules = config::SearchPath::for_modules();
  std::size_t jobs = 0;  // 0: one a processor
  bool dry_run = false;  // plan only
  bool keep_failed = false;
  bool record = true;                // false: the image is not written down under its name (its layers are kept, until gc)
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

// The image with modules that it lacks, and those they require, installed on top of its layers as on a node: init.sh with the stage
// `deploy`. Each step is made once and kept in the store as a layer; the image's own record stays as it is. Errors as with bake().
Image add_modules(Store& store, const Image& image, const std::vector<config::ModuleChoice>& choices, const BakeOptions& options);

// The built-in names of an image (docs/modules.md) and their values.
config::Values builtins_of(const Image& image);

// Where kiln-node is. Error with the places looked at.
std::filesystem::path find_agent();

}  // namespace kiln::bake
