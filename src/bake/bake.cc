// The driver of a bake. bake() at the end reads as the list of its steps.
#include "bake/bake.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <map>
#include <mutex>
#include <set>

#include "bake/plan.h"
#include "bake/scripts.h"
#include "bake/sources.h"
#include "bake/steps.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "base/strings.h"
#include "container/cell.h"

namespace kiln::bake {

namespace {

using Kind = PlannedLayer::Kind;

class Bake {
 public:
  // `on`: the image to which the spec's modules are added; null for one from the ground.
  Bake(Store& store, const config::ImageSpec& spec, const BakeOptions& options, const Image* on = nullptr)
      : on_(on),
        store_(store),
        spec_(spec),
        options_(options),
        sources_(store),
        jobs_(options.jobs != 0 ? options.jobs : processor_count()),
        agent_(options.agent.empty() ? find_agent() : options.agent),
        agent_digest_(sha256_hex_of_file(agent_)),
        previous_(find_previous()) {}

  void read_modules();
  void make_plan();
  bool is_whole() const;
  void lay_ground();
  void build_modules();
  void check_conflicts();
  void build_layer(std::size_t index);
  void build_top();
  BakeResult record();
  BakeResult tell_plan() const;

 private:
  std::optional<Image> find_previous() const;
  std::vector<SourceRequest> needed_sources() const;
  const Layer* previous_layer(const std::string& name) const;
  std::string why(const PlannedLayer& layer) const;
  StepResult run_step(const PlannedLayer& layer, const StepPlace& place);
  StepResult make_packages(const PlannedLayer& layer, const StepPlace& place);
  StepResult make_module(const PlannedLayer& layer, const StepPlace& place);
  StepResult make_warm(const PlannedLayer& layer, const StepPlace& place);
  StepResult make_agent(const PlannedLayer& layer, const StepPlace& place);
  std::vector<std::filesystem::path> folders_below(const PlannedLayer& layer) const;
  std::vector<AccountLayer> accounts_below(const PlannedLayer& layer) const;
  std::string image_text(const PlannedLayer& layer) const;
  Image image() const;

  const Image* on_;
  Store& store_;
  const config::ImageSpec& spec_;
  const BakeOptions& options_;
  Sources sources_;
  std::size_t jobs_;
  std::filesystem::path agent_;
  std::string agent_digest_;
  std::optional<Image> previous_;
  Plan plan_;
  std::map<std::string, Layer> layers_;  // by key: those that exist
  std::map<std::string, double> built_;  // by key: seconds; those that this bake made
  std::mutex lock_;                      // of the two above, while layers are built side by side
};

// A record that cannot be read tells nothing; it will be replaced.
std::optional<Image> Bake::find_previous() const {
  try {
    return store_.find_image(spec_.name);
  } catch (const Error& error) {
    say(fmt::format("the record of image '{}' is not used: {}", spec_.name, error.message()));
    return std::nullopt;
  }
}

// Once: editing a module while it is baked must not mix two states. Makes nothing, so that nothing is made of a wrong spec.
void Bake::read_modules() {
  plan_.modules = plan_modules(spec_, options_.modules, config::builtin_values(spec_.base, spec_.architecture));
  if (on_ != nullptr) plan_.modules = without_modules_of(*on_, std::move(plan_.modules));
}

void Bake::make_plan() {
  const auto digest_of = [&](const SourceRequest& request) -> std::optional<std::string> {
    const auto record = sources_.find(request);
    return record ? std::optional(record->digest) : std::nullopt;
  };
  plan_ = bake::make_plan(spec_, std::move(plan_.modules), agent_digest_, digest_of, on_);
  layers_.clear();
  for (const auto& layer : plan_.layers) {
    if (layer.key.empty()) continue;
    if (auto found = store_.find_layer(layer.key)) layers_[layer.key] = std::move(*found);
  }
}

bool Bake::is_whole() const {
  return std::all_of(plan_.layers.begin(), plan_.layers.end(), [&](const PlannedLayer& layer) { return layers_.count(layer.key) != 0; });
}

// Sources of layers that are to be made, which are not in the store.
std::vector<SourceRequest> Bake::needed_sources() const {
  std::vector<SourceRequest> needed;
  for (const auto& layer : plan_.layers) {
    if (layer.kind != Kind::kModule || layers_.count(layer.key) != 0) continue;
    for (const auto& request : plan_.modules[layer.module].sources) {
      const auto record = sources_.find(request);
      if (!record || !sources_.is_cached(*record)) needed.push_back(request);
    }
  }
  return needed;
}

const Layer* Bake::previous_layer(const std::string& name) const {
  if (!previous_) return nullptr;
  const auto found =
      std::find_if(previous_->layers.begin(), previous_->layers.end(), [&](const Layer& layer) { return layer.name == name; });
  return found == previous_->layers.end() ? nullptr : &*found;
}

std::string Bake::why(const PlannedLayer& layer) const {
  const bool there = layers_.count(layer.key) != 0 && built_.count(layer.key) == 0;
  const Layer* before = previous_layer(layer.name);
  if (before == nullptr) return there ? "already in the store" : "first time";
  if (before->key == layer.key) return there ? "unchanged" : "its files are no longer in the store";
  return explain_change(before->inputs, layer.inputs) + (there ? " (such a layer is there)" : "");
}

// Base and packages depend on no source, sources on no layer: side by side.
void Bake::lay_ground() {
  std::vector<GraphTask> tasks;
  std::size_t ground = 0;
  for (std::size_t i = 0; i < plan_.layers.size(); ++i) {
    const PlannedLayer& layer = plan_.layers[i];
    const bool lost = layer.kind == Kind::kGiven && layers_.count(layer.key) == 0;
    if (layer.kind != Kind::kBase && layer.kind != Kind::kPackages && !lost) continue;
    std::vector<std::size_t> after;
    if (ground++ > 0) after.push_back(0);
    tasks.push_back({layer.name, after, [this, i] { build_layer(i); }});
  }
  for (const auto& request : needed_sources()) {
    tasks.push_back({request.module + "/" + request.spec.name, {}, [this, request] { sources_.fetch(request); }});
  }
  // Fetching waits more than it works: four at a time also on few processors.
  constexpr std::size_t kFetches = 4;
  run_graph(tasks, std::max(jobs_, kFetches));
}

void Bake::build_modules() {
  std::vector<GraphTask> tasks;
  std::map<std::size_t, std::size_t> task_of_layer;
  for (std::size_t i = 0; i < plan_.layers.size(); ++i) {
    const PlannedLayer& layer = plan_.layers[i];
    if (layer.kind != Kind::kModule) continue;
    GraphTask task{layer.name, {}, [this, i] { build_layer(i); }};
    for (const std::size_t below : layer.below) {
      if (const auto found = task_of_layer.find(below); found != task_of_layer.end()) task.after.push_back(found->second);
    }
    task_of_layer[i] = tasks.size();
    tasks.push_back(std::move(task));
  }
  run_graph(tasks, jobs_);
}

void Bake::build_layer(std::size_t index) {
  const PlannedLayer& planned = plan_.layers[index];
  {
    const std::lock_guard guard(lock_);
    if (layers_.count(planned.key) != 0) return;
  }
  with_context("building layer '" + planned.name + "'", [&] {
    if (planned.key.empty()) fail("its sources changed while it was being planned");
    const FileLock one_maker = store_.lock(planned.key, "layer '" + planned.name + "'");
    auto layer = store_.find_layer(planned.key);  // the one we waited for may have made it
    if (!layer) {
      Activity activity("layer " + planned.name, {{"why", why(planned)}});
      const auto start = std::chrono::steady_clock::now();
      WorkFolder work = store_.make_work_folder();
      store_.folder("logs");
      const auto log = store_.log_file(planned.key);
      ::unlink(log.c_str());
      try {
        const StepResult made = run_step(planned, {work.path(), log, activity.id(), "layer " + planned.name, spec_.epoch});
        layer = Layer{planned.key,   planned.name, "", made.size_bytes, made.files, 0, static_cast<std::int64_t>(now_in_seconds()),
                      planned.inputs};
        if (planned.kind == Kind::kModule) layer->module = plan_.modules[planned.module].manifest.name;
        layer->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        store_.add_layer(*layer, work);
      } catch (Error& error) {
        if (options_.keep_failed) {
          say("the files of the failed step are in " + work.path().native());
          work.keep();
        }
        if (error.hint_text().empty() && error.message().find(errno_text(ENOSPC)) != std::string::npos) error.set_hint(kFullDiskHint);
        activity.fail(error.message());
        throw;
      }
      activity.finish({{"size_bytes", layer->size_bytes}, {"files", layer->files}});
      const std::lock_guard guard(lock_);
      built_[planned.key] = layer->seconds;
    }
    const std::lock_guard guard(lock_);
    layers_[planned.key] = std::move(*layer);
  });
}

StepResult Bake::run_step(const PlannedLayer& layer, const StepPlace& place) {
  switch (layer.kind) {
    case Kind::kBase:
      return make_base(place, spec_.base, spec_.architecture);
    case Kind::kPackages:
      return make_packages(layer, place);
    case Kind::kModule:
      return make_module(layer, place);
    case Kind::kWarm:
      return make_warm(layer, place);
    case Kind::kAgent:
      return make_agent(layer, place);
    case Kind::kGiven:
      fail("its files are no longer in the store; `kiln bake` makes image '{}' again", spec_.name);
  }
  fail("a layer of an unknown kind");
}

std::vector<std::filesystem::path> Bake::folders_below(const PlannedLayer& layer) const {
  std::vector<std::filesystem::path> folders;
  for (const std::size_t below : layer.below) folders.push_back(store_.layer_folder(plan_.layers[below].key));
  return folders;
}

std::vector<AccountLayer> Bake::accounts_below(const PlannedLayer& layer) const {
  std::vector<AccountLayer> accounts;
  for (const std::size_t below : layer.below) {
    const PlannedLayer& lower = plan_.layers[below];
    std::string name;
    if (lower.kind == Kind::kModule) name = plan_.modules[lower.module].manifest.name;
    if (lower.kind == Kind::kWarm) name = "warm";
    accounts.push_back({name, store_.layer_folder(lower.key)});
  }
  return accounts;
}

StepResult Bake::make_packages(const PlannedLayer& layer, const StepPlace& place) {
  const auto lists = place.work / "lists";
  make_folder(lists / "partial");
  const std::string cache_name = fmt::format("packages/{}-{}", spec_.base.suite.empty() ? "base" : spec_.base.suite, spec_.architecture);
  const auto cache = store_.folder("cache/" + cache_name);
  make_folder(cache / "partial");
  // apt locks its cache and does not wait.
  const FileLock alone = store_.lock("cache-" + sha256_hex(cache_name).substr(0, 16), "the packages of another image");
  RunStep step = package_step(layer.inputs.at("packages").get<std::vector<std::string>>(), lists, cache, spec_.epoch);
  step.lower = folders_below(layer);
  return run_over_layers(place, step);
}

// Several layers may be built at the same time; each script may still use all processors, since most use one most of the time.
StepResult Bake::make_module(const PlannedLayer& layer, const StepPlace& place) {
  const PlannedModule& module = plan_.modules[layer.module];
  RunStep step;
  std::map<std::string, MountedSource> mounted;
  for (const auto& request : module.sources) {
    const auto record = sources_.find(request);
    if (!record || !sources_.is_cached(*record))
      fail("source '{}' of module '{}' is no longer in the store", request.spec.name, module.manifest.name);
    const auto source = mounted_source(sources_, request.spec.name, *record);
    step.binds.push_back({source.path, source.target, true});
    mounted.emplace(request.spec.name, source);
  }
  step.lower = folders_below(layer);
  step.network = module.manifest.network;
  std::vector<std::string> files;
  for (const auto& [file, digest] : files_for_script(module, "init.sh")) files.push_back(file);
  step.module_folders = {{module.manifest.name, module.manifest.folder, files}};
  const std::string stage = layer.inputs.value("stage", "bake");
  step.scripts = {module_script(module, plan_.builtins, stage, "init.sh", spec_.epoch, jobs_, mounted, step.network)};
  return run_over_layers(place, step);
}

StepResult Bake::make_warm(const PlannedLayer& layer, const StepPlace& place) {
  RunStep step;
  step.lower = folders_below(layer);
  step.accounts = accounts_below(layer);
  for (const auto& module : plan_.modules) {
    if (!module.has("warm.sh")) continue;
    std::vector<std::string> files;
    for (const auto& [file, digest] : files_for_script(module, "warm.sh")) files.push_back(file);
    step.module_folders.push_back({module.manifest.name, module.manifest.folder, files});
    step.scripts.push_back(module_script(module, plan_.builtins, "warm", "warm.sh", spec_.epoch, jobs_, {}, false));
  }
  return run_over_layers(place, step);
}

// What the agent and people find in the image: /usr/lib/kiln/image.json.
std::string Bake::image_text(const PlannedLayer& layer) const {
  Json modules = Json::array(), layers = Json::array();
  for (const auto& module : image().modules)
    modules.push_back({{"name", module.manifest.name}, {"summary", module.manifest.summary}, {"params", module.params}});
  std::string keys;
  for (const std::size_t below : layer.below) {
    layers.push_back({{"name", plan_.layers[below].name}, {"key", plan_.layers[below].key}});
    keys += plan_.layers[below].key + "\n";
  }
  const Json text = {{"kiln", 1},
                     {"name", spec_.name},
                     {"digest", sha256_hex(keys)},
                     {"suite", spec_.base.suite},
                     {"epoch", spec_.epoch},
                     {"architecture", spec_.architecture},
                     {"builtins", plan_.builtins},
                     {"layers", layers},
                     {"modules", modules}};
  return text.dump(1) + "\n";
}

StepResult Bake::make_agent(const PlannedLayer& layer, const StepPlace& place) {
  AgentStep step;
  step.agent = agent_;
  step.accounts = accounts_below(layer);
  step.texts["usr/lib/kiln/image.json"] = image_text(layer);
  for (const auto& module : plan_.modules) {
    const std::string& name = module.manifest.name;
    std::vector<std::string> files;
    for (const auto& [file, digest] : module.files) files.push_back(file);
    step.module_folders.push_back({name, module.manifest.folder, files});
    // The agent has no YAML parser; the defaults in it are the parameters that the image was baked with.
    config::Module baked = module.manifest;
    baked.folder.clear();
    for (const auto& [parameter, value] : module.params) baked.params[parameter].default_value = value;
    step.texts["usr/lib/kiln/modules/" + name + "/module.json"] = config::module_to_json(baked).dump(1) + "\n";
  }
  return make_agent_layer(place, step);
}

// Two modules that write the same path would depend on which lies on top: that is nobody's intention.
void Bake::check_conflicts() {
  std::vector<ModuleFiles> modules;
  std::map<std::string, std::filesystem::path> folders;
  for (const auto& layer : plan_.layers) {
    if (layer.kind != Kind::kModule) continue;
    const PlannedModule& module = plan_.modules[layer.module];
    ModuleFiles files{module.manifest.name, {}, store_.layer_folder(layer.key), {}};
    for (const std::size_t below : module.below) files.requires_modules.push_back(plan_.modules[below].manifest.name);
    files.list = read_list(read_file(files.folder.parent_path() / "files"));
    folders[files.module] = files.folder;
    modules.push_back(std::move(files));
  }
  const auto conflicts = real_conflicts(possible_conflicts(modules), folders);
  if (conflicts.empty()) return;
  const Conflict& first = conflicts.front();
  Error error(fmt::format("modules '{}' and '{}' both write '/{}'{}", first.first, first.second, first.path,
                          conflicts.size() > 1 ? fmt::format(" (and {} more paths conflict)", conflicts.size() - 1) : ""));
  error.set_hint(
      fmt::format("let '{}' require '{}' (requires: in module.yaml), or let one of them write elsewhere", first.second, first.first));
  throw error;
}

void Bake::build_top() {
  for (std::size_t i = 0; i < plan_.layers.size(); ++i) {
    if (plan_.layers[i].kind == Kind::kWarm || plan_.layers[i].kind == Kind::kAgent) build_layer(i);
  }
}

Image Bake::image() const {
  Image image;
  image.name = spec_.name;
  image.digest = plan_.digest();
  image.architecture = spec_.architecture;
  image.suite = spec_.base.suite;
  image.summary = spec_.summary;
  image.spec_file = spec_.file;
  image.spec = config::image_spec_to_json(spec_);
  for (const auto& planned : plan_.layers) {
    if (const auto found = layers_.find(planned.key); found != layers_.end()) image.layers.push_back(found->second);
  }
  if (on_ != nullptr) image.modules = on_->modules;
  for (const auto& module : plan_.modules) image.modules.push_back({module.manifest, module.params});
  return image;
}

BakeResult Bake::tell_plan() const {
  BakeResult result;
  result.image = image();
  for (const auto& planned : plan_.layers) {
    LayerOutcome outcome;
    outcome.why = why(planned);
    outcome.reused = layers_.count(planned.key) != 0 && built_.count(planned.key) == 0;
    if (const auto found = layers_.find(planned.key); found != layers_.end()) {
      outcome.layer = found->second;
      if (const auto seconds = built_.find(planned.key); seconds != built_.end()) outcome.seconds = seconds->second;
    } else {
      outcome.layer.key = planned.key;
      outcome.layer.name = planned.name;
      outcome.layer.inputs = planned.inputs;
    }
    result.changed = result.changed || !outcome.reused;
    result.layers.push_back(std::move(outcome));
  }
  return result;
}

// The record is written when anything in it is new: its file's time tells when the image last changed.
BakeResult Bake::record() {
  BakeResult result = tell_plan();
  result.image.created = static_cast<std::int64_t>(now_in_seconds());
  if (!options_.record) return result;
  if (previous_) {
    const std::int64_t created = std::exchange(result.image.created, previous_->created);
    // By its text: that is what will be read.
    if (result.image.to_json() == previous_->to_json()) return result;
    result.image.created = created;
    result.changed = result.changed || result.image.digest != previous_->digest;
  } else {
    result.changed = true;
  }
  store_.save_image(result.image);
  return result;
}

}  // namespace

std::filesystem::path find_agent() {
  const char* given = std::getenv("KILN_AGENT");
  if (given != nullptr && *given != '\0') return given;
  std::error_code error;
  const auto program = fs::read_symlink("/proc/self/exe", error);
  const std::vector<std::filesystem::path> places = {program.parent_path() / "kiln-node",
                                                     program.parent_path().parent_path() / "lib/kiln/kiln-node"};
  for (const auto& place : places) {
    if (fs::exists(place, error)) return place;
  }
  Error missing(fmt::format("cannot find the agent: there is no '{}' and no '{}'", places[0].native(), places[1].native()));
  missing.set_hint("build or install kiln-node with kiln, or name it by KILN_AGENT");
  throw missing;
}

namespace {

BakeResult run_bake(Bake& bake, const Store& store, bool dry_run) {
  // The modules and their order.
  bake.read_modules();
  // gc takes nothing away meanwhile.
  std::optional<FileLock> in_use;
  if (!dry_run) in_use = store.in_use();

  // The layers and their keys, as far as the store knows the sources.
  bake.make_plan();
  if (dry_run) return bake.tell_plan();
  // Every layer is there: only the record may be new.
  if (bake.is_whole()) return bake.record();
  container::require_host();
  // Base, packages and sources, side by side.
  bake.lay_ground();
  // Now every source is known, and with them every key.
  bake.make_plan();
  // A layer for each module over those it requires, independent ones at the same time.
  bake.build_modules();
  bake.check_conflicts();
  // What runs over all of it, and the agent on top.
  bake.build_top();
  // The image is what its record says.
  return bake.record();
}

}  // namespace

BakeResult bake(Store& store, const config::ImageSpec& spec, const BakeOptions& options) {
  return with_context("baking image '" + spec.name + "'", [&] {
    Bake bake(store, spec, options);
    return run_bake(bake, store, options.dry_run);
  });
}

config::Values builtins_of(const Image& image) {
  const auto spec = config::image_spec_from_json(image.spec);
  return config::builtin_values(spec.base, spec.architecture);
}

Image add_modules(Store& store, const Image& image, const std::vector<config::ModuleChoice>& choices, const BakeOptions& options) {
  config::ImageSpec spec = config::image_spec_from_json(image.spec);
  spec.file = image.spec_file;
  spec.modules = choices;
  BakeOptions unrecorded = options;
  unrecorded.record = false;
  return with_context("adding modules to image '" + image.name + "'", [&] {
    Bake bake(store, spec, unrecorded, &image);
    return run_bake(bake, store, false).image;
  });
}

}  // namespace kiln::bake
