// What `kiln bake` has to say: of one image, or of one for each architecture.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bake/bake.h"
#include "cli/command.h"
#include "image/targets.h"

namespace kiln::cli {

// The bake of one image, as far as it came.
struct Baked {
  std::string name, architecture;
  bake::BakeResult result = {};
  std::vector<image::TargetOutcome> made = {};
  double seconds = 0;
  std::string amis = {};                 // of a dry run: the AMIs that it would make; empty: none
  std::filesystem::path lock_file = {};  // that was written; empty: none
  std::optional<Error> failure = {};
};

struct BakedWords {
  bool explain = false, dry_run = false;
};

Response baked_response(const Baked& baked, const BakedWords& words);
// `together`: what was made of all of them (image::combine_targets). Exit code 1 when one has failed; JSON: each under its architecture's
// name in "architectures", and what they have together beside it.
Response baked_response(const std::vector<Baked>& all, const std::vector<image::TargetOutcome>& together, const BakedWords& words);

}  // namespace kiln::cli
