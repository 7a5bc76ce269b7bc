// The driver of a bake. bake() at the end reads as the list of its steps.
#include "bake/bake.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "bake/archive_facts.h"
#include "bake/bake_run.h"
#include "bake/sbom.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/strings.h"
#include "container/cell.h"

namespace kiln::bake {

namespace {

// Fetching waits more than it works: four at a time also on few processors.
constexpr std::size_t kFetches = 4;

// What stands for the modules whose warm.sh made the warm layer.
constexpr const char* kWarmScript = "(warm.sh)";

}  // namespace

void Bake::add_fetches(std::vector<GraphTask>& tasks) {
  for (const auto& request : needed_sources()) {
    tasks.push_back({request.module + "/" + request.spec.name, {}, [this, request] { sources_.fetch(request); }});
  }
}

// Of modules whose layers are not there; each after its sources, which may be among the tasks.
void Bake::add_unpacking(std::vector<GraphTask>& tasks) {
  const std::size_t fetches = tasks.size();
  for (const auto& layer : plan_.layers) {
    if (layer.kind != Kind::kModule || layers_.count(layer.key) != 0) continue;
    const PlannedModule& module = plan_.modules[layer.module];
    if (!Unpacker::has_archives(module)) continue;
    GraphTask task{"unpack " + module.manifest.name, {}, [this, &module] { unpacker_.unpack(module); }};
    for (std::size_t i = 0; i < fetches; ++i) {
      if (tasks[i].name.starts_with(module.manifest.name + "/")) task.after.push_back(i);
    }
    tasks.push_back(std::move(task));
  }
}

// A base that is an image has no key before the image is here, and what a stranger's base installs packages with is not known before
// it is unpacked. The other sources come with it.
void Bake::build_strange_base() {
  const bool strange = plan_.layers.front().kind == Kind::kBase && !spec_.base.is_suite();
  if (!strange || layers_.count(plan_.layers.front().key) != 0) return;
  std::vector<GraphTask> tasks;
  add_fetches(tasks);
  run_graph(tasks, std::max(jobs_, kFetches));
  make_plan();
  build_layer(0);
  make_plan();
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
  add_fetches(tasks);
  if (!options_.packages_only) add_unpacking(tasks);
  run_graph(tasks, std::max(jobs_, kFetches));
}

void Bake::tell_ground() const {
  if (options_.on_ground) options_.on_ground(image());
}

void Bake::build_modules() {
  std::vector<GraphTask> tasks;
  std::map<std::size_t, std::size_t> task_of_layer;
  for (std::size_t i = 0; i < plan_.layers.size(); ++i) {
    const PlannedLayer& layer = plan_.layers[i];
    if (layer.kind != Kind::kModule && layer.kind != Kind::kBuild) continue;
    if (!is_needed(layer)) continue;
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
    if (layer && is_locked(planned) && !packages_differ(planned).empty())
      fail("another kiln has just made it, without the lock; bake again");
    if (!layer) {
      Activity activity("layer " + planned.name, {{"why", why(planned)}});
      const auto start = std::chrono::steady_clock::now();
      std::optional<Unpacked> unpacked = unpacked_archives(planned);
      WorkFolder work = unpacked ? std::move(unpacked->work) : store_.make_work_folder();
      store_.folder("logs");
      const auto log = store_.log_file(planned.key);
      ::unlink(log.c_str());
      try {
        if (is_locked(planned)) write_file_atomically(work.path() / kPreferencesFile, options_.lock->preferences(layer_word(planned)));
        const StepResult made =
            run_step(planned, {work.path(), log, activity.id(), "layer " + planned.name, spec_.epoch, spec_.architecture},
                     unpacked ? unpacked->folders : SourceFolders());
        if (is_locked(planned)) {
          const auto bills = bills_with_work(store_, keys_below(planned), work.path(), log, spec_.architecture);
          check_locked_packages(*options_.lock, layer_word(planned), installed_packages(bills),
                                package_digests(archive_facts_in(work.path())));
        }
        layer = Layer{planned.key,   planned.name, "", made.size_bytes, made.files, 0, static_cast<std::int64_t>(now_in_seconds()),
                      planned.inputs};
        if (planned.kind == Kind::kModule) layer->module = plan_.modules[planned.module].manifest.name;
        layer->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        store_.add_layer(*layer, work);
        if (options_.on_layer && planned.kind != Kind::kBuild) options_.on_layer(*layer);
      } catch (Error& error) {
        if (options_.on_error == OnError::kKeep) {
          say("the files of the failed step are in " + work.path().native());
          work.keep();
        }
        if (failed_ && failed_->place.work == work.path()) failed_->work.emplace(std::move(work));
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

// Only when nothing else runs: two cannot have one terminal.
void Bake::open_shell() {
  if (!failed_ || !failed_->work) return;
  say(fmt::format("{} failed; a shell in its sandbox follows, with everything as it was left (what is changed in it is lost at its end)",
                  failed_->what));
  open_shell_in(failed_->place, failed_->step);
}

// Two modules that write the same path would depend on which lies on top: that is nobody's intention. Neither is that of a module and
// a warm.sh that does not see it.
void Bake::check_conflicts() {
  std::vector<ModuleFiles> modules;
  std::map<std::string, std::filesystem::path> folders;
  for (const auto& layer : plan_.layers) {
    const bool warm = layer.kind == Kind::kWarm && layers_.count(layer.key) != 0;
    if (layer.kind != Kind::kModule && !warm) continue;
    ModuleFiles files{warm ? kWarmScript : plan_.modules[layer.module].manifest.name, {}, store_.layer_folder(layer.key), {}};
    for (const std::size_t below : layer.below) {
      if (plan_.layers[below].kind == Kind::kModule)
        files.requires_modules.push_back(plan_.modules[plan_.layers[below].module].manifest.name);
    }
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
      first.second == kWarmScript
          ? fmt::format("let the module with that warm.sh come after '{}' (after: in module.yaml)", first.first)
          : fmt::format("let '{}' require '{}' (requires: in module.yaml), or let one of them write elsewhere", first.second, first.first));
  throw error;
}

void Bake::build_top() {
  for (std::size_t i = 0; i < plan_.layers.size(); ++i) {
    if (plan_.layers[i].kind != Kind::kWarm && plan_.layers[i].kind != Kind::kAgent) continue;
    build_layer(i);
    if (plan_.layers[i].kind == Kind::kWarm) check_conflicts();
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
  image.beside = spec_.beside;
  for (const auto& planned : plan_.layers) {
    if (planned.kind == Kind::kBuild) continue;
    if (const auto found = layers_.find(planned.key); found != layers_.end()) image.layers.push_back(found->second);
  }
  if (on_) image.modules = on_->image.modules;
  for (const auto& module : plan_.modules) image.modules.push_back({module.manifest, module.params});
  return image;
}

BakeResult Bake::tell_plan() const {
  BakeResult result;
  result.image = image();
  for (const auto& planned : plan_.layers) {
    if (!is_needed(planned) && built_.count(planned.key) == 0) continue;
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

std::filesystem::path find_agent(const std::string& architecture) {
  const bool foreign = architecture != config::host_architecture();
  const char* given = std::getenv("KILN_AGENT");
  if (!foreign && given != nullptr && *given != '\0') return given;
  const std::string name = foreign ? "kiln-node-" + architecture : "kiln-node";
  std::error_code error;
  const auto program = fs::read_symlink("/proc/self/exe", error);
  const std::vector<std::filesystem::path> places = {program.parent_path() / name, program.parent_path().parent_path() / "lib/kiln" / name};
  for (const auto& place : places) {
    if (fs::exists(place, error)) return place;
  }
  Error missing(
      fmt::format("cannot find the agent for {}: there is no '{}' and no '{}'", architecture, places[0].native(), places[1].native()));
  missing.set_hint(foreign ? fmt::format("`make agent-{}` builds it", architecture)
                           : "build or install kiln-node with kiln, or name it by KILN_AGENT");
  throw missing;
}

namespace {

void make_layers(Bake& bake, bool packages_only) {
  // A base that is no distribution's suite: it decides on what comes above.
  bake.build_strange_base();
  do {
    // Base, packages and sources, side by side.
    bake.lay_ground();
    // Now every source is known, and with them every key. Added packages may turn out to be in the way of what the image's modules made:
    // then they are installed again, over those.
    bake.make_plan();
  } while (!bake.has_ground());
  if (packages_only) return;
  // Whoever builds on these alone can begin.
  bake.tell_ground();
  // A layer for each module over those it requires, independent ones at the same time.
  bake.build_modules();
  bake.check_conflicts();
  // What runs over all of it, and the agent on top.
  bake.build_top();
}

BakeResult run_bake(Bake& bake, const Store& store, const BakeOptions& options) {
  // The modules and their order.
  bake.read_modules();
  // gc takes nothing away meanwhile.
  std::optional<FileLock> in_use;
  if (!options.dry_run) in_use = store.in_use();

  // The layers and their keys, as far as the store knows the sources.
  bake.make_plan();
  if (options.dry_run) return bake.tell_plan();
  // Every layer is there: only the record may be new.
  if (bake.is_whole()) return bake.record();
  container::require_host();
  try {
    make_layers(bake, options.packages_only);
  } catch (const Interrupted&) {
    throw;
  } catch (const Error&) {
    bake.open_shell();
    throw;
  }
  // The image is what its record says.
  return bake.record();
}

}  // namespace

OnError parse_on_error(const std::string& what, const std::string& text) {
  if (text == "cleanup") return OnError::kCleanup;
  if (text == "keep") return OnError::kKeep;
  if (text == "shell") return OnError::kShell;
  fail_usage("{}: expected cleanup, keep or shell, not '{}'", what, text);
}

BakeResult bake(Store& store, const config::ImageSpec& spec, const BakeOptions& options) {
  return with_context("baking image '" + spec.name + "'", [&] {
    Bake bake(store, spec, options);
    return run_bake(bake, store, options);
  });
}

Image bake_base(Store& store, const config::ImageSpec& spec) {
  BakeOptions options;
  options.base_only = true;
  return bake(store, spec, options).image;
}

config::Values builtins_of(const Image& image) {
  const auto spec = config::image_spec_from_json(image.spec);
  return config::builtin_values(spec.base, spec.architecture);
}

Image add_modules(Store& store, const Image& image, const std::vector<config::ModuleChoice>& choices, const BakeOptions& options,
                  const Addition& addition) {
  config::ImageSpec spec = config::image_spec_from_json(image.spec);
  spec.file = image.spec_file;
  spec.modules = choices;
  BakeOptions unrecorded = options;
  unrecorded.record = false;
  unrecorded.dry_run = false;
  unrecorded.on_layer = {};
  unrecorded.on_ground = {};
  std::optional<Lock> lock;
  if (options.lock != nullptr) lock = lock_of_addition(*options.lock, addition.locked_as);
  if (lock) unrecorded.lock = &*lock;
  return with_context("adding modules to image '" + image.name + "'", [&] {
    const Ground ground{image, addition.words, addition.stage};
    Bake bake(store, spec, unrecorded, &ground);
    return run_bake(bake, store, unrecorded).image;
  });
}

void add_packages(Store& store, const Image& image, const std::vector<config::ModuleChoice>& choices, const BakeOptions& options,
                  const Addition& addition) {
  BakeOptions packages = options;
  packages.packages_only = true;
  add_modules(store, image, choices, packages, addition);
}

}  // namespace kiln::bake
