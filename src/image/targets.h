// What an image can be made into, from its layers. A target is one entry of the table in targets.cc.
#pragma once

#include <string>
#include <vector>

#include "image/oci.h"

namespace kiln::image {

struct TargetOptions {
  Compression compression = Compression::kGzip;
  std::size_t jobs = 0;  // 0: one a processor
};

struct TargetOutcome {
  std::string name = {};
  bool reused = false;  // everything was there
  double seconds = 0;
  std::string words = {};  // what people are told: a digest, a size
  Json facts = {};
};

// Makes all of them at the same time; those that do not fail are finished and kept, then the first error is thrown.
// UsageError for a name that is no target, or one that this kiln does not make yet.
std::vector<TargetOutcome> make_targets(const bake::Store& store, const bake::Image& image, const std::vector<std::string>& names,
                                        const TargetOptions& options);
// The names of those that can be made.
std::vector<std::string> target_names();
// The same errors, before anything is made.
void check_targets(const std::vector<std::string>& names);

}  // namespace kiln::image
