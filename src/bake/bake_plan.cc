// What a bake is to make: its modules, the plan of its layers, those that are there, and the sources that are needed for the rest.
#include <algorithm>

#include "bake/archive_facts.h"
#include "bake/bake_run.h"
#include "bake/packages.h"
#include "bake/sbom.h"
#include "base/activity.h"
#include "base/error.h"

namespace kiln::bake {

std::string layer_word(const PlannedLayer& layer) { return layer.kind == PlannedLayer::Kind::kBase ? "base" : "packages"; }

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
  if (on_) plan_.modules = without_modules_of(on_->image, std::move(plan_.modules));
  if (options_.lock != nullptr) pin_commits(*options_.lock, plan_.modules);
}

void Bake::plan_layers() {
  const auto digest_of = [&](const SourceRequest& request) -> std::optional<std::string> {
    const bool is_base = request.module.empty();
    if (options_.lock != nullptr && is_base) {
      const std::string locked = options_.lock->base_image();
      return locked.empty() ? std::nullopt : std::optional(locked);
    }
    const auto record = sources_.find(request);
    if (options_.lock != nullptr && !record) {
      const std::string locked = locked_source(*options_.lock, request);
      return locked.empty() ? std::nullopt : std::optional(locked);
    }
    if (options_.lock != nullptr) check_locked_source(*options_.lock, request, record->digest);
    return record ? std::optional(record->digest) : std::nullopt;
  };
  const auto family_of = [&](const std::string& key) -> std::optional<std::string> {
    const auto list = read_file_if_there(store_.layer_folder(key).parent_path() / "files");
    return list ? std::optional(find_package_family(*list)) : std::nullopt;
  };
  const auto lock_of = [&](const PlannedLayer& layer) {
    const bool other = options_.lock != nullptr && store_.find_layer(layer.key) && !packages_differ(layer).empty();
    return other ? lock_digest(*options_.lock, layer_word(layer)) : std::string();
  };
  plan_ = bake::make_plan(spec_, std::move(plan_.modules), agent_digest_, {digest_of, family_of}, on_ ? &*on_ : nullptr, lock_of);
  if (options_.base_only) plan_.layers.resize(1);
  if (options_.lock != nullptr) check_lock(*options_.lock, plan_);
  layers_.clear();
  for (const auto& layer : plan_.layers) {
    if (layer.key.empty()) continue;
    if (auto found = store_.find_layer(layer.key)) layers_[layer.key] = std::move(*found);
  }
}

void Bake::make_plan() {
  if (on_) on_->packages_over_modules = false;
  plan_layers();
  if (!on_) return;
  const std::optional<bool> in_the_way = packages_are_in_the_way();
  if (in_the_way == false) return;
  on_->packages_over_modules = true;
  plan_layers();
  // Not made yet: it is tried without the modules first. (Where they were laid over the modules before, they were in the way.)
  if (!in_the_way && !has_ground()) {
    on_->packages_over_modules = false;
    plan_layers();
  }
}

// Whether added packages that stand on the image's ground disturb what lies between; nothing when they are not installed yet.
std::optional<bool> Bake::packages_are_in_the_way() const {
  std::vector<GroundLayer> between;
  for (const auto& layer : plan_.layers) {
    if (layer.kind == Kind::kGiven) between.push_back({layer.name, layer.key});
    if (layer.kind != Kind::kPackages) continue;
    if (layers_.count(layer.key) == 0) return std::nullopt;
    std::erase_if(between, [&](const GroundLayer& given) {
      return std::any_of(layer.below.begin(), layer.below.end(), [&](std::size_t below) { return plan_.layers[below].key == given.key; });
    });
    return are_in_the_way(store_, {layer.name, layer.key}, between);
  }
  return false;
}

// In what the packages of a layer of the store are not those of the lock.
std::vector<std::string> Bake::packages_differ(const PlannedLayer& layer) const {
  // The layer may be one of a plan that is being made.
  std::vector<std::string> keys;
  for (const auto& below : layer.inputs.value("below", Json::array())) {
    keys.push_back(below.at("key"));
    if (!store_.find_layer(keys.back())) return {"what it stands on is no longer in the store"};
  }
  keys.push_back(layer.key);
  return differences_from_lock(*options_.lock, layer_word(layer), installed_packages(layer_bills(store_, keys, spec_.architecture)),
                               package_digests(stored_archive_facts(store_, layer.key)));
}

bool Bake::is_whole() const {
  return std::all_of(plan_.layers.begin(), plan_.layers.end(),
                     [&](const PlannedLayer& layer) { return layers_.count(layer.key) != 0 || !is_needed(layer); });
}

// What a module is built with is not, where that has been done.
bool Bake::is_needed(const PlannedLayer& layer) const {
  if (layer.kind != Kind::kBuild) return true;
  return std::any_of(plan_.layers.begin(), plan_.layers.end(), [&](const PlannedLayer& other) {
    return other.kind == Kind::kModule && other.module == layer.module && layers_.count(other.key) == 0;
  });
}

bool Bake::has_ground() const {
  return std::all_of(plan_.layers.begin(), plan_.layers.end(), [&](const PlannedLayer& layer) {
    return (layer.kind != Kind::kBase && layer.kind != Kind::kPackages) || layers_.count(layer.key) != 0;
  });
}

// Sources of layers that are to be made, which are not in the store.
std::vector<SourceRequest> Bake::needed_sources() const {
  std::vector<SourceRequest> needed;
  for (const auto& layer : plan_.layers) {
    if (layers_.count(layer.key) != 0) continue;
    if (const auto request = layer.kind == Kind::kBase ? base_source() : std::nullopt) {
      const auto record = sources_.find(*request);
      if (!record || !sources_.is_cached(*record)) needed.push_back(*request);
    }
    if (layer.kind != Kind::kModule) continue;
    for (const auto& request : plan_.modules[layer.module].sources) {
      const auto record = sources_.find(request);
      if (!record || !sources_.is_cached(*record)) needed.push_back(request);
    }
  }
  return needed;
}

// The base's image; under a lock that which was locked, also when its tag went on.
std::optional<SourceRequest> Bake::base_source() const {
  auto request = base_request(spec_);
  if (!request || options_.lock == nullptr) return request;
  const std::string locked = options_.lock->base_image();
  // As long as the tag stands for it, it may be in the store.
  if (const auto record = sources_.find(*request); !record || record->digest != locked) pin_image(*request, locked);
  return request;
}

const Layer* Bake::previous_layer(const std::string& name) const {
  if (!previous_) return nullptr;
  const auto found =
      std::find_if(previous_->layers.begin(), previous_->layers.end(), [&](const Layer& layer) { return layer.name == name; });
  return found == previous_->layers.end() ? nullptr : &*found;
}

std::string Bake::why(const PlannedLayer& layer) const {
  const bool there = layers_.count(layer.key) != 0 && built_.count(layer.key) == 0;
  if (layer.kind == Kind::kBuild)
    return there ? "already in the store" : fmt::format("module {} is built with it", plan_.modules[layer.module].manifest.name);
  const Layer* before = previous_layer(layer.name);
  if (before == nullptr) return there ? "already in the store" : "first time";
  if (before->key == layer.key) return there ? "unchanged" : "its files are no longer in the store";
  return explain_change(before->inputs, layer.inputs) + (there ? " (such a layer is there)" : "");
}

bool Bake::is_locked(const PlannedLayer& layer) const {
  return options_.lock != nullptr && (layer.kind == Kind::kBase || layer.kind == Kind::kPackages);
}

}  // namespace kiln::bake
