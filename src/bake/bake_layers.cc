// How a layer of each kind is made: its step, with what the step needs.
#include <algorithm>

#include "bake/bake_run.h"
#include "bake/lent_files.h"
#include "bake/packages.h"
#include "bake/sbom.h"
#include "bake/scripts.h"
#include "base/error.h"
#include "base/hash.h"

namespace kiln::bake {

// They are there by now, but where another bake took the layer away that was to be used.
std::optional<Unpacked> Bake::unpacked_archives(const PlannedLayer& layer) {
  if (layer.kind != Kind::kModule || !Unpacker::has_archives(plan_.modules[layer.module])) return std::nullopt;
  unpacker_.unpack(plan_.modules[layer.module]);
  return unpacker_.take(plan_.modules[layer.module]);
}

StepResult Bake::run_step(const PlannedLayer& layer, const StepPlace& place, const SourceFolders& unpacked) {
  switch (layer.kind) {
    case Kind::kBase:
      return make_base(layer, place);
    case Kind::kPackages:
    case Kind::kBuild:
      return make_packages(layer, place);
    case Kind::kModule:
      return make_module(layer, place, unpacked);
    case Kind::kWarm:
      return make_warm(layer, place);
    case Kind::kAgent:
      return make_agent(layer, place);
    case Kind::kGiven:
      fail("its files are no longer in the store; `kiln bake` makes image '{}' again", spec_.name);
  }
  fail("a layer of an unknown kind");
}

std::vector<std::string> Bake::keys_below(const PlannedLayer& layer) const {
  std::vector<std::string> keys;
  for (const std::size_t below : layer.below) keys.push_back(plan_.layers[below].key);
  return keys;
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
    if (lower.kind == Kind::kBuild) continue;
    std::string name;
    if (lower.kind == Kind::kModule) name = plan_.modules[lower.module].manifest.name;
    if (lower.kind == Kind::kWarm) name = "warm";
    // What was added is told from the image's own base and packages.
    if (lower.kind == Kind::kPackages && on_) name = lower.name;
    if (lower.kind == Kind::kGiven) {
      const std::string kind = lower.inputs.value("kind", "");
      if (kind != "base" && kind != "packages") name = kind == "module" ? lower.inputs.value("module", lower.name) : lower.name;
    }
    accounts.push_back({name, store_.layer_folder(lower.key)});
  }
  return accounts;
}

StepResult Bake::run_scripts(const StepPlace& place, const RunStep& step) {
  try {
    return run_over_layers(place, step);
  } catch (const Error&) {
    const std::lock_guard guard(lock_);
    if (options_.on_error == OnError::kShell && !failed_) {
      if (auto what = failed_script(place, step)) failed_.emplace(FailedStep{place, step, std::move(*what), std::nullopt});
    }
    throw;
  }
}

// The folder of the store in which stays what package managers download.
std::string Bake::package_cache(const std::string& family) const {
  const std::string suite = spec_.base.suite.empty() ? "base" : spec_.base.suite;
  return fmt::format("cache/packages/{}-{}", family == "debian" ? suite : family, spec_.architecture);
}

StepResult Bake::make_base(const PlannedLayer& layer, const StepPlace& place) {
  std::vector<oci::LayerFile> layers;
  if (const auto request = base_source()) {
    const auto record = sources_.find(*request);
    if (!record || !sources_.is_cached(*record) || record->digest != layer.inputs.at("sources").at("image"))
      fail("the base's image changed while it was being fetched");
    layers = base_layers(sources_, *record);
  }
  if (!spec_.base.is_suite()) return bake::make_base(place, spec_.base, layers, {});
  const fs::path cache = store_.folder(package_cache("debian"));
  with_lists([&] { bring_lists(cache, place.work / kKnownLists); });
  const StepResult result = bake::make_base(place, spec_.base, layers, cache);
  with_lists([&] { keep_lists(place.work / "lists", cache); });
  return result;
}

// Of a distribution's own archive only, which never goes back: apt takes no list that is older than the one it has, and whoever keeps an
// archive himself may put an earlier state there. Only speed depends on lists: what another bake, or a disk, does to the cache is no
// reason to fail.
void Bake::with_lists(const std::function<void()>& work) const {
  if (!spec_.base.is_suite() || !spec_.base.mirror.empty()) return;
  try {
    const FileLock alone = store_.lock("lists", "the lists of packages of another image");
    work();
  } catch (const std::filesystem::filesystem_error&) {
  } catch (const Interrupted&) {
    throw;
  } catch (const Error&) {
  }
}

StepResult Bake::make_packages(const PlannedLayer& layer, const StepPlace& place) {
  const std::string family = layer.inputs.value("family", "debian");
  const std::string cache = package_cache(family);
  // Package managers lock their caches, and apt does not wait.
  const FileLock alone = store_.lock("cache-" + sha256_hex(cache).substr(0, 16), "the packages of another image");
  const PackageFolders folders{place.work / "lists", store_.folder(cache)};
  auto packages = layer.inputs.at("packages").get<std::vector<std::string>>();
  if (is_locked(layer) && family == "rpm") {
    if (auto locked = options_.lock->rpm_packages(layer_word(layer)); !locked.empty()) packages = std::move(locked);
  }
  RunStep step = package_step(family, packages, folders, spec_.epoch);
  if (is_locked(layer)) step.scripts.at(0).what += fmt::format(" (the versions that '{}' recorded)", options_.lock->file);
  step.lower = folders_below(layer);
  if (is_locked(layer) && family == "debian") prefer_versions(step, place.work / kPreferencesFile);
  if (family != "debian") return run_scripts(place, step);
  with_lists([&] { bring_lists(folders.cache, folders.work); });
  const StepResult result = run_scripts(place, step);
  with_lists([&] { keep_lists(folders.work, folders.cache); });
  return result;
}

// Several layers may be built at the same time; each script may still use all processors, since most use one most of the time.
StepResult Bake::make_module(const PlannedLayer& layer, const StepPlace& place, const SourceFolders& unpacked) {
  const PlannedModule& module = plan_.modules[layer.module];
  RunStep step;
  SourceFolders sources = unpacked;
  std::map<std::string, std::string> commits;
  for (const auto& request : module.sources) {
    if (unpacked.count(request.spec.name) != 0) continue;
    const auto record = sources_.find(request);
    if (!record || !sources_.is_cached(*record))
      fail("source '{}' of module '{}' is no longer in the store", request.spec.name, module.manifest.name);
    const auto source = mounted_source(sources_, request.spec.name, *record);
    step.binds.push_back({source.path, source.target, true});
    sources.emplace(request.spec.name, source.target);
    if (const std::string commit = commit_of(record->from); !commit.empty())
      commits[fmt::format("KILN_SOURCE_{}_COMMIT", config::variable_name(request.spec.name))] = commit;
  }
  step.lower = folders_below(layer);
  step.tools = static_cast<std::size_t>(
      std::count_if(layer.below.begin(), layer.below.end(), [&](std::size_t below) { return plan_.layers[below].kind == Kind::kBuild; }));
  step.network = module.has_network();
  if (module.is_built() && module.manifest.build->network) step.lent = lent_files();
  std::vector<std::string> files;
  for (const auto& [file, digest] : files_for_script(module, "init.sh")) files.push_back(file);
  step.module_folders = {{module.manifest.name, module.manifest.folder, files}};
  // Added packages that do not stand on the image's modules have accounts of their own.
  if (on_) step.accounts = accounts_below(layer);
  const std::string stage = layer.inputs.value("stage", "bake");
  step.scripts = {module_script(module, plan_.builtins, stage, "init.sh", spec_.epoch, jobs_, sources, step.network)};
  step.scripts[0].env.insert(commits.begin(), commits.end());
  return run_scripts(place, step);
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
  return run_scripts(place, step);
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
  step.texts[kSbomPath] = spdx_text(bill_of(store_, image(), agent_digest_));
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

}  // namespace kiln::bake
