// What an image can be made into, from its layers. A target is one entry of the table in targets.cc.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bake/bake.h"
#include "config/reference.h"
#include "image/ami.h"
#include "image/early_work.h"
#include "image/oci.h"
#include "oci/registry.h"

namespace kiln::image {

struct TargetOptions {
  Compression compression = Compression::kGzip;
  std::size_t jobs = 0;                           // 0: one a processor
  bake::BakeOptions bake = {};                    // for what a target adds to the image
  std::optional<config::Reference> push_to = {};  // where the target oci is sent as soon as it is made
  oci::RegistryOptions registry = {};
  AmiWish ami = {};            // of the target ami
  EarlyWork* early = nullptr;  // what was begun during the bake
  std::string label = {};      // told with each target's name, of several architectures: "arm64"
  double started = 0;          // Unix time; what was made since then is new. 0: since the target's own start
};

struct TargetOutcome {
  std::string name = {};
  bool reused = false;  // everything was there
  double seconds = 0;
  std::string words = {};  // what people are told: a digest, a size
  Json facts = {};
  std::map<std::string, bake::Image> added = {};  // the image with what the target added to it, by the module that it added
};

// Makes all of them at the same time, each told as an activity "target NAME"; those that do not fail are finished and kept, then the
// first error is thrown (every other one is said). With `push_to` one more outcome, "push", follows.
// UsageError for a name that is no target, or one that this kiln does not make yet.
std::vector<TargetOutcome> make_targets(bake::Store& store, const bake::Image& image, const std::vector<std::string>& names,
                                        const TargetOptions& options);
// What is made of the images of one spec for several architectures together, when each has its targets: for "oci" among `names` an index of
// all, and with `push_to` that is sent, as one more outcome. Nothing for targets that hold one architecture each.
std::vector<TargetOutcome> combine_targets(bake::Store& store, const std::vector<bake::Image>& images,
                                           const std::vector<std::string>& names, const TargetOptions& options);
// What a bake for these targets can begin early; nothing for names that are no targets.
EarlyWork::Wanted early_work_for(const std::vector<std::string>& names);
// The names of those that can be made.
std::vector<std::string> target_names();
// The same errors, before anything is made, and Error for a program that one of them is made by and that is not installed.
// UsageError when one of them adds a module to the image of which `lock` knows nothing.
void check_targets(const std::vector<std::string>& names, const bake::Lock* lock = nullptr);

}  // namespace kiln::image
