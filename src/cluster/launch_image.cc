#include "cluster/launch_image.h"

#include <algorithm>

#include "bake/plan.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/strings.h"
#include "config/module_choice.h"

namespace kiln::cluster {

namespace {

const bake::ImageModule* find_module(const bake::Image& image, const std::string& name) {
  const auto found =
      std::find_if(image.modules.begin(), image.modules.end(), [&](const auto& module) { return module.manifest.name == name; });
  return found == image.modules.end() ? nullptr : &*found;
}

// A module that neither the image nor the search path has: the nearest of both.
void check_names(const bake::Image& image, const std::vector<config::ModuleChoice>& choices, const config::SearchPath& path) {
  std::vector<std::string> names;
  for (const auto& module : image.modules) names.push_back(module.manifest.name);
  const std::string has = join(names, ", ");
  for (const auto& folder : config::list_modules(path)) names.push_back(folder.filename());
  for (const auto& choice : choices) {
    if (std::find(names.begin(), names.end(), choice.name) != names.end()) continue;
    UsageError error(fmt::format("image '{}' has no module '{}'", image.name, choice.name));
    const auto near = nearest(choice.name, names);
    error.set_hint(near ? fmt::format("did you mean '{}'?", *near)
                        : fmt::format("it has: {}; --modules names a folder with modules of your own", has));
    throw error;
  }
}

void check_params(const config::Module& manifest, const config::ModuleChoice& choice) {
  std::vector<std::string> known;
  for (const auto& [name, parameter] : manifest.params) known.push_back(name);
  for (const auto& [name, value] : choice.params) {
    config::check_parameter_value(manifest, name, value);
    if (manifest.params.count(name) != 0) continue;
    UsageError error(fmt::format("module '{}' has no parameter '{}'", choice.name, name));
    const auto near = nearest(name, known);
    error.set_hint(near ? fmt::format("did you mean '{}'?", *near) : fmt::format("it has: {}", join(known, ", ")));
    throw error;
  }
}

// Everything that can be wrong with what a launch says of modules, as far as the image's modules tell.
void check_choices(const bake::Image& image, const std::vector<config::ModuleChoice>& choices, const config::SearchPath& path) {
  check_names(image, choices, path);
  for (const auto& choice : choices) {
    if (const auto* module = find_module(image, choice.name))
      check_params(module->manifest, choice);
    else
      check_params(config::load_module(config::find_module(path, choice)), choice);
  }
}

// Of images of one spec for several architectures that for this machine, else the one that has the name.
std::optional<bake::Image> image_for_this_machine(const bake::Store& store, const std::string& name) {
  auto image = store.find_image(name);
  if (!image || image->architecture == config::host_architecture()) return image;
  for (const auto& other_name : image->beside) {
    auto other = store.find_image(other_name);
    if (other && other->architecture == config::host_architecture()) return other;
  }
  return image;
}

config::ImageSpec spec_for_this_machine(const config::ImageSpec& spec) {
  const auto specs = config::specs_by_architecture(spec);
  const auto own =
      std::find_if(specs.begin(), specs.end(), [](const auto& one) { return one.architecture == config::host_architecture(); });
  return own != specs.end() ? *own : specs.front();
}

bake::Image find_or_bake(bake::Store& store, const config::ClusterSpec& launch, const bake::BakeOptions& options) {
  const std::string& wanted = launch.image;
  const bool is_path = wanted.find('/') != std::string::npos || wanted.ends_with(".yaml") || wanted.ends_with(".yml");
  if (!is_path) {
    if (auto image = image_for_this_machine(store, wanted)) {
      check_choices(*image, launch.modules, options.modules);
      return *image;
    }
  }
  const auto spec = spec_for_this_machine(config::load_image_spec(config::find_image_spec(wanted)));
  // A slip in a parameter is told before minutes of baking, not after.
  bake::Image planned;
  planned.name = spec.name;
  for (auto& module : bake::plan_modules(spec, options.modules, config::builtin_values(spec.base, spec.architecture))) {
    planned.modules.push_back({std::move(module.manifest), std::move(module.params)});
  }
  check_choices(planned, launch.modules, options.modules);
  auto whole = spec;
  whole.modules = config::merge_module_choices(std::move(whole.modules), launch.modules);
  bake::plan_modules(whole, options.modules, config::builtin_values(spec.base, spec.architecture));
  if (!is_path) say(fmt::format("image '{}' is not baked yet: baking {}", wanted, spec.file.native()));
  return bake::bake(store, spec, options).image;
}

// The image's spec with those parameters of the launch that other layers would come from; none: nothing.
std::optional<config::ImageSpec> changed_spec(const bake::Image& image, const std::vector<config::ModuleChoice>& choices,
                                              const config::SearchPath& path) {
  std::vector<config::ModuleChoice> changes;
  std::vector<std::string> words;
  for (const auto& choice : choices) {
    const auto* module = find_module(image, choice.name);
    if (module == nullptr) continue;
    config::ModuleChoice change;
    change.name = choice.name;
    for (const auto& [name, value] : choice.params) {
      const auto baked = module->params.find(name);
      if (baked != module->params.end() && baked->second == value) continue;
      if (!bake::concerns_baking(config::load_module(config::find_module(path, choice)), name)) continue;
      change.params[name] = value;
      words.push_back(fmt::format("{}.{}={}", choice.name, name, value));
    }
    if (!change.params.empty()) changes.push_back(std::move(change));
  }
  if (changes.empty()) return std::nullopt;
  say(fmt::format("image '{}' is baked otherwise: for this cluster with {}", image.name, join(words, ", ")));
  auto spec = config::image_spec_from_json(image.spec);
  spec.file = image.spec_file;
  spec.modules = config::merge_module_choices(std::move(spec.modules), changes);
  return spec;
}

std::vector<config::NodeDocument::ModuleParams> params_for(const bake::Image& image, const std::vector<config::ModuleChoice>& choices) {
  std::vector<config::NodeDocument::ModuleParams> all;
  for (const auto& module : image.modules) {
    all.push_back({module.manifest.name, {}});
    for (const auto& choice : choices) {
      if (choice.name == module.manifest.name) all.back().params = choice.params;
    }
  }
  return all;
}

// Of an image that was baked elsewhere only its own parts are known: nothing can be installed that fits.
void check_only_set_up(const config::ClusterSpec& spec, const config::SearchPath& path) {
  const auto folders = config::list_modules(path);
  for (const auto& choice : spec.modules) {
    const auto is_it = [&](const fs::path& folder) { return folder.filename() == choice.name; };
    if (std::none_of(folders.begin(), folders.end(), is_it)) continue;
    const auto module = config::load_module(config::find_module(path, choice));
    for (const auto& [name, value] : choice.params) {
      if (!bake::concerns_baking(module, name)) continue;
      UsageError error(
          fmt::format("'{}.{}' is a matter of installing, and image '{}' was not baked on this machine", choice.name, name, spec.image));
      error.set_hint(
          fmt::format("bake it here (`kiln bake {} --target ami`: what is there is not made again), or have all installed at launch: "
                      "`--image debian-13`",
                      spec.image));
      throw error;
    }
  }
}

// What the launch asks for beyond the image: other layers, and more of them.
void install(bake::Store& store, LaunchImage& ground, const config::ClusterSpec& spec, const bake::BakeOptions& options) {
  bake::BakeOptions unrecorded = options;
  unrecorded.record = false;
  if (const auto changed = changed_spec(ground.image, spec.modules, options.modules)) {
    ground.image = bake::bake(store, *changed, unrecorded).image;
  }
  std::vector<config::ModuleChoice> added;
  for (const auto& choice : spec.modules) {
    if (find_module(ground.image, choice.name) == nullptr) added.push_back(choice);
  }
  if (added.empty()) return;
  std::vector<std::string> names;
  for (const auto& choice : added) names.push_back(choice.name);
  say(fmt::format("image '{}' lacks {}: installing at launch", ground.image.name, join(names, ", ")));
  const std::size_t before = ground.image.modules.size();
  ground.image = bake::add_modules(store, ground.image, added, options);
  for (std::size_t i = before; i < ground.image.modules.size(); ++i) ground.added.push_back(ground.image.modules[i].manifest.name);
}

}  // namespace

LaunchImage image_for_launch(bake::Store& store, const config::ClusterSpec& spec, const bake::BakeOptions& options) {
  LaunchImage result{find_or_bake(store, spec, options), {}, {}, {}};
  result.in_use = store.in_use();
  install(store, result, spec, options);
  result.params = params_for(result.image, spec.modules);
  return result;
}

namespace {

// By its name; one for another architecture has the same name there, and its own here.
std::optional<bake::Image> image_with_digest(const bake::Store& store, const provider::ImageRef& remote) {
  auto known = store.find_image(remote.name);
  if (!known || known->digest == remote.digest) return known;
  for (const auto& name : known->beside) {
    auto other = store.find_image(name);
    if (!other || other->digest != remote.digest) continue;
    other->name = remote.name;
    return other;
  }
  return std::nullopt;
}

}  // namespace

LaunchImage remote_image_for_launch(bake::Store& store, const config::ClusterSpec& spec, provider::ImageRef& remote,
                                    const bake::BakeOptions& options, const KeepImage& keep) {
  LaunchImage result;
  auto known = image_with_digest(store, remote);
  if (!known) {
    check_only_set_up(spec, options.modules);
    result.image.name = remote.name;
    result.image.digest = remote.digest;
    for (const auto& choice : spec.modules) result.params.push_back({choice.name, choice.params});
    return result;
  }
  check_choices(*known, spec.modules, options.modules);
  result.in_use = store.in_use();
  result.image = std::move(*known);
  if (keep) {
    install(store, result, spec, options);
    if (result.image.digest != remote.digest) {
      // `image` of this machine's store may have another name: that for the architecture.
      result.image.name = remote.name;
      remote = keep(result.image);
    }
  } else {
    changed_spec(result.image, spec.modules, options.modules);  // says what would be made
  }
  result.params = params_for(result.image, spec.modules);
  return result;
}

LaunchImage stock_image_for_launch(bake::Store& store, const config::ClusterSpec& spec, const provider::ImageRef& stock,
                                   const bake::BakeOptions& options, bool is_preview) {
  const provider::StockImage& system = stock.stock.value();
  auto image = config::load_image_spec(config::find_image_spec(system.modules_of));
  image.name = stock.name;
  image.base = system.base;
  image.architecture = system.architecture;
  image.modules = config::merge_module_choices(std::move(image.modules), spec.modules);
  LaunchImage result;
  result.image.name = stock.name;
  result.parcel = provider::ParcelRef{std::string(64, '0'), bake::stock_files(options.modules)};
  if (is_preview) return result;
  result.parcel_file =
      std::make_shared<bake::Parcel>(bake::make_parcel(store, image, {system.os_id, system.os_version, system.package_family}, options));
  result.image = result.parcel_file->image;
  result.parcel->sha256 = result.parcel_file->sha256;
  result.params = params_for(result.image, spec.modules);
  for (const auto& module : result.image.modules) result.added.push_back(module.manifest.name);
  return result;
}

}  // namespace kiln::cluster
