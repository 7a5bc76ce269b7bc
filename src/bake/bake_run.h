// The driver of a bake, shared by the files that make it up: bake_plan.cc says what is to be made, bake_layers.cc makes a layer,
// bake.cc goes from one to the other. Nobody else includes this.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bake/bake.h"
#include "bake/ground.h"
#include "bake/plan.h"
#include "bake/sources.h"
#include "bake/steps.h"
#include "bake/unpack.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/parallel.h"

namespace kiln::bake {

// As lock files call the two layers whose packages they record.
std::string layer_word(const PlannedLayer& layer);

class Bake {
 public:
  // `on`: the image to which the spec's modules are added; null for one from the ground.
  Bake(Store& store, const config::ImageSpec& spec, const BakeOptions& options, const Ground* on = nullptr)
      : on_(on != nullptr ? std::optional(*on) : std::nullopt),
        store_(store),
        spec_(spec),
        options_(options),
        sources_(store),
        unpacker_(store, sources_),
        jobs_(options.jobs != 0 ? options.jobs : processor_count()),
        agent_(options.base_only       ? fs::path()
               : options.agent.empty() ? find_agent(spec.architecture)
                                       : options.agent),
        agent_digest_(options.base_only ? "" : sha256_hex_of_file(agent_)),
        previous_(find_previous()) {}

  void read_modules();
  void make_plan();
  bool is_whole() const;
  bool is_needed(const PlannedLayer& layer) const;
  bool has_ground() const;
  void build_strange_base();
  void lay_ground();
  void tell_ground() const;
  void build_modules();
  void check_conflicts();
  void build_layer(std::size_t index);
  void build_top();
  BakeResult record();
  BakeResult tell_plan() const;
  void open_shell();

 private:
  using Kind = PlannedLayer::Kind;
  // The first step whose script failed, kept for open_shell().
  struct FailedStep {
    StepPlace place;
    RunStep step;
    std::string what;
    std::optional<WorkFolder> work;
  };
  std::optional<Image> find_previous() const;
  void plan_layers();
  std::optional<bool> packages_are_in_the_way() const;
  std::vector<SourceRequest> needed_sources() const;
  void add_fetches(std::vector<GraphTask>& tasks);
  void add_unpacking(std::vector<GraphTask>& tasks);
  const Layer* previous_layer(const std::string& name) const;
  std::string why(const PlannedLayer& layer) const;
  bool is_locked(const PlannedLayer& layer) const;
  std::vector<std::string> packages_differ(const PlannedLayer& layer) const;
  std::optional<Unpacked> unpacked_archives(const PlannedLayer& layer);
  StepResult run_step(const PlannedLayer& layer, const StepPlace& place, const SourceFolders& unpacked);
  StepResult run_scripts(const StepPlace& place, const RunStep& step);
  std::string package_cache(const std::string& family) const;
  void with_lists(const std::function<void()>& work) const;
  StepResult make_base(const PlannedLayer& layer, const StepPlace& place);
  StepResult make_packages(const PlannedLayer& layer, const StepPlace& place);
  StepResult make_module(const PlannedLayer& layer, const StepPlace& place, const SourceFolders& unpacked);
  StepResult make_warm(const PlannedLayer& layer, const StepPlace& place);
  StepResult make_agent(const PlannedLayer& layer, const StepPlace& place);
  std::optional<SourceRequest> base_source() const;
  std::vector<std::string> keys_below(const PlannedLayer& layer) const;
  std::vector<std::filesystem::path> folders_below(const PlannedLayer& layer) const;
  std::vector<AccountLayer> accounts_below(const PlannedLayer& layer) const;
  std::string image_text(const PlannedLayer& layer) const;
  Image image() const;

  std::optional<Ground> on_;
  Store& store_;
  const config::ImageSpec& spec_;
  const BakeOptions& options_;
  Sources sources_;
  Unpacker unpacker_;
  std::size_t jobs_;
  std::filesystem::path agent_;
  std::string agent_digest_;
  std::optional<Image> previous_;
  Plan plan_;
  std::map<std::string, Layer> layers_;  // by key: those that exist
  std::map<std::string, double> built_;  // by key: seconds; those that this bake made
  std::optional<FailedStep> failed_;
  std::mutex lock_;  // of the three above, while layers are built side by side
};

}  // namespace kiln::bake
