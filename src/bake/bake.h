// Bake: from an image spec to layers in the store.
#pragma once

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

// Bakes what is missing and records the image. Says its progress as activities "layer NAME", "source NAME".
BakeResult bake(Store& store, const config::ImageSpec& spec, const BakeOptions& options);

}  // namespace kiln::bake
