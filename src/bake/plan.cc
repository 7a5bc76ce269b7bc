#include "bake/plan.h"

#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "bake/bill.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"

namespace kiln::bake {

namespace {

using Kind = PlannedLayer::Kind;

// On a node only: they change nothing that is made while baking. (What the manifest says about baking is in the inputs by itself.)
constexpr const char* kNodeFiles[] = {"test.sh", "run.sh", "drain.sh", "busy.sh", "module.yaml", "boot-files"};

bool is_left_behind(const std::string& name) {
  return name == ".git" || name == "__pycache__" || name.ends_with("~") || (name.starts_with('.') && name.ends_with(".swp"));
}

// Digests of files over 1 MiB would be worth a cache; modules hold scripts.
std::map<std::string, std::string> digest_folder(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (auto it = fs::recursive_directory_iterator(folder); it != fs::recursive_directory_iterator(); ++it) {
    if (is_left_behind(it->path().filename())) {
      it.disable_recursion_pending();
      continue;
    }
    if (it->is_directory() && !it->is_symlink()) continue;
    const std::string path = it->path().lexically_relative(folder).native();
    if (it->is_symlink()) {
      files[path] = sha256_hex(fs::read_symlink(it->path()).native()) + " link";
    } else if (it->is_regular_file()) {
      struct stat status {};
      if (::stat(it->path().c_str(), &status) != 0) fail("cannot look at '{}': {}", it->path().native(), errno_text(errno));
      files[path] = sha256_hex_of_file(it->path()) + ((status.st_mode & 0111) != 0 ? " 755" : " 644");
    }
  }
  return files;
}

// Everything that is asked for and, breadth first, what that requires.
std::map<std::string, PlannedModule> load_modules(const config::ImageSpec& spec, const config::SearchPath& path,
                                                  const config::Values& builtins) {
  std::map<std::string, PlannedModule> modules;
  struct Wanted {
    config::ModuleChoice choice;
    std::string required_by;
  };
  std::vector<Wanted> queue;
  for (const auto& choice : spec.modules) queue.push_back({choice, ""});
  for (std::size_t i = 0; i < queue.size(); ++i) {
    const config::ModuleChoice choice = queue[i].choice;
    const std::string required_by = queue[i].required_by;
    if (modules.count(choice.name) != 0) continue;
    PlannedModule module;
    const auto load = [&] {
      module.manifest = config::load_module(config::find_module(path, choice));
      config::check_module_choice(choice, module.manifest);
      module.params = config::effective_params(module.manifest, choice.params, builtins);
    };
    if (required_by.empty())
      load();
    else
      with_context("looking for what module '" + required_by + "' requires", load);
    module.values = builtins;
    for (const auto& [name, value] : module.params) module.values[name] = value;
    module.files = digest_folder(module.manifest.folder);
    module.sources = source_requests(module.manifest, module.values);
    for (const auto& name : module.manifest.requires_modules) {
      config::ModuleChoice required;
      required.name = name;
      queue.push_back({std::move(required), choice.name});
    }
    modules.emplace(choice.name, std::move(module));
  }
  return modules;
}

// The names in an order in which each comes after what it requires, and after its `after`. Among those that could come next, the
// first by name: the same modules have the same order however the spec lists them.
std::vector<std::string> order_modules(const std::map<std::string, PlannedModule>& modules) {
  std::vector<std::string> order;
  std::set<std::string> done;
  const auto waits_for = [&](const PlannedModule& module) {
    std::vector<std::string> names;
    for (const auto* list : {&module.manifest.requires_modules, &module.manifest.after}) {
      for (const auto& name : *list) {
        if (modules.count(name) != 0 && done.count(name) == 0) names.push_back(name);
      }
    }
    return names;
  };
  while (order.size() < modules.size()) {
    const auto next = std::find_if(modules.begin(), modules.end(),
                                   [&](const auto& entry) { return done.count(entry.first) == 0 && waits_for(entry.second).empty(); });
    if (next != modules.end()) {
      order.push_back(next->first);
      done.insert(next->first);
      continue;
    }
    // Nobody can come next: follow who waits for whom until a name comes again.
    std::vector<std::string> trail;
    for (auto at = std::find_if(modules.begin(), modules.end(), [&](const auto& entry) { return done.count(entry.first) == 0; })->first;;) {
      const bool seen = std::find(trail.begin(), trail.end(), at) != trail.end();
      trail.push_back(at);
      if (seen)
        throw UsageError("modules wait for each other in a circle: " +
                         join({std::find(trail.begin(), trail.end(), at), trail.end()}, " → "));
      at = waits_for(modules.at(at)).front();
    }
  }
  return order;
}

void add_below(const std::vector<PlannedModule>& modules, std::size_t index, std::set<std::size_t>& below) {
  for (const auto& name : modules[index].manifest.requires_modules) {
    const auto found =
        std::find_if(modules.begin(), modules.end(), [&](const PlannedModule& module) { return module.manifest.name == name; });
    const auto at = static_cast<std::size_t>(found - modules.begin());
    if (at < modules.size() && below.insert(at).second) add_below(modules, at, below);
  }
}

// Fills in what stands below, and the key when all of that is known.
void finish_layer(Plan& plan, PlannedLayer layer, const LockDigest& lock_of = {}) {
  layer.inputs["format"] = kLayerFormat;
  layer.inputs["architecture"] = plan.spec.architecture;
  layer.inputs["epoch"] = plan.spec.epoch;
  bool known = true;
  if (layer.kind != Kind::kBase) {
    layer.inputs["below"] = Json::array();
    for (const std::size_t index : layer.below) {
      layer.inputs["below"].push_back({{"name", plan.layers[index].name}, {"key", plan.layers[index].key}});
      known = known && !plan.layers[index].key.empty();
    }
  }
  if (const auto sources = layer.inputs.find("sources"); sources != layer.inputs.end()) {
    for (const auto& digest : *sources) known = known && !digest.is_null();
  }
  if (const auto family = layer.inputs.find("family"); family != layer.inputs.end()) known = known && !family->is_null();
  if (known) layer.key = sha256_hex(layer.inputs.dump());
  if (known && lock_of) {
    if (const std::string digest = lock_of(layer); !digest.empty()) {
      layer.inputs["lock"] = digest;
      layer.key = sha256_hex(layer.inputs.dump());
    }
  }
  plan.layers.push_back(std::move(layer));
}

Json module_input(const std::map<std::string, std::string>& files, const config::Values& params) {
  return {{"files", files}, {"params", params}};
}

PlannedLayer plan_base(const config::ImageSpec& spec, const SourceDigests& digest_of) {
  PlannedLayer base{Kind::kBase, "base", "", {{"kind", "base"}}, {}, 0};
  if (const auto request = base_request(spec)) {
    const auto digest = digest_of(*request);
    base.inputs["sources"] = {{request->spec.name, digest ? Json(*digest) : Json(nullptr)}};
  } else if (spec.base.kind == config::BaseSpec::Kind::kTarball) {
    base.inputs["tarball"] = spec.base.sha256.empty() ? sha256_hex_of_file(spec.base.tarball) : spec.base.sha256;
  } else {
    base.inputs["distribution"] = spec.base.kind == config::BaseSpec::Kind::kUbuntu ? "ubuntu" : "debian";
    base.inputs["suite"] = spec.base.suite;
    base.inputs["mirror"] = spec.base.mirror;
  }
  return base;
}

}  // namespace

namespace {

// Of one family's list, filled in.
void add_family_packages(std::set<std::string>& packages, const std::map<std::string, std::vector<std::string>>& lists,
                         const std::string& family, const PlannedModule& module, const std::string& architecture) {
  const auto found = lists.find(family);
  if (found == lists.end()) return;
  with_context("filling in the packages of module '" + module.manifest.name + "'", [&] {
    for (const auto& entry : found->second) {
      if (const auto package = config::package_on(entry, architecture)) packages.insert(config::expand(*package, module.values));
    }
  });
}

}  // namespace

std::set<std::string> distribution_packages(const config::ImageSpec& spec, const std::vector<PlannedModule>& modules,
                                            const std::string& family) {
  std::set<std::string> packages(spec.packages.begin(), spec.packages.end());
  if (const auto own = spec.family_packages.find(family); own != spec.family_packages.end())
    packages.insert(own->second.begin(), own->second.end());
  for (const auto& module : modules) add_family_packages(packages, module.manifest.packages, family, module, spec.architecture);
  return packages;
}

std::string Plan::digest() const {
  std::string keys;
  for (const auto& layer : layers) {
    if (layer.kind == PlannedLayer::Kind::kBuild) continue;
    if (layer.key.empty()) return {};
    keys += layer.key + "\n";
  }
  return sha256_hex(keys);
}

std::vector<PlannedModule> plan_modules(const config::ImageSpec& spec, const config::SearchPath& path, const config::Values& builtins) {
  auto by_name = load_modules(spec, path, builtins);
  std::vector<PlannedModule> modules;
  for (const auto& name : order_modules(by_name)) modules.push_back(std::move(by_name.at(name)));
  for (std::size_t i = 0; i < modules.size(); ++i) {
    std::set<std::size_t> below;
    add_below(modules, i, below);
    modules[i].below.assign(below.begin(), below.end());
  }
  return modules;
}

std::map<std::string, std::string> files_for_script(const PlannedModule& module, const std::string& script) {
  std::map<std::string, std::string> files = module.files;
  for (const char* name : kNodeFiles) files.erase(name);
  // A warm-up may start the software as a node would, and set it up for that.
  if (script != "warm.sh") files.erase("setup.sh");
  for (const char* name : {"init.sh", "warm.sh"}) {
    if (name != script) files.erase(name);
  }
  return files;
}

std::vector<PlannedModule> without_modules_of(const Image& image, std::vector<PlannedModule> modules) {
  const auto has = [&](const std::string& name) {
    return std::any_of(image.modules.begin(), image.modules.end(), [&](const auto& module) { return module.manifest.name == name; });
  };
  std::vector<PlannedModule> rest;
  std::map<std::size_t, std::size_t> place;  // index before → now
  for (std::size_t i = 0; i < modules.size(); ++i) {
    if (has(modules[i].manifest.name)) continue;
    place[i] = rest.size();
    std::vector<std::size_t> below;
    for (const std::size_t index : modules[i].below) {
      if (const auto found = place.find(index); found != place.end()) below.push_back(found->second);
    }
    modules[i].below = std::move(below);
    rest.push_back(std::move(modules[i]));
  }
  return rest;
}

bool concerns_baking(const config::Module& module, const std::string& parameter) {
  std::vector<std::string> texts;
  const auto add_lists = [&](const auto& lists) {
    for (const auto& [distribution, packages] : lists) texts.insert(texts.end(), packages.begin(), packages.end());
  };
  add_lists(module.packages);
  if (module.build) {
    if (module.build->condition.count(parameter) != 0) return true;
    add_lists(module.build->packages);
  }
  for (const auto& source : module.sources) {
    for (const auto& mirror : source.mirrors) {
      if (mirror.condition.count(parameter) != 0) return true;
      texts.insert(texts.end(), mirror.what.begin(), mirror.what.end());
      texts.push_back(mirror.ref);
    }
  }
  for (const auto& text : texts) {
    const auto names = config::placeholders(text);
    if (std::find(names.begin(), names.end(), parameter) != names.end()) return true;
  }
  const auto script = read_file_if_there(module.folder / "init.sh");
  return script && script->find("KILN_PARAM_" + config::variable_name(parameter)) != std::string::npos;
}

namespace {

// The layers of the image, on which added modules' layers stand; what is left of `packages` is to be installed.
std::vector<std::size_t> plan_given(Plan& plan, const Image& on, std::set<std::string>& packages) {
  std::vector<std::size_t> ground;
  for (const auto& layer : on.layers) {
    const auto installed = layer.inputs.value("kind", "") == "packages" ? layer.inputs.value("packages", std::vector<std::string>())
                                                                        : std::vector<std::string>();
    for (const auto& package : installed) packages.erase(package);
    ground.push_back(plan.layers.size());
    plan.layers.push_back({Kind::kGiven, layer.name, layer.key, layer.inputs, {}, 0});
  }
  return ground;
}

// "debian", "rpm", "", or nothing as long as the base is not there to be looked at.
std::optional<std::string> package_family(const config::ImageSpec& spec, const std::string& base_key, const Known& known) {
  if (spec.base.is_suite()) return "debian";
  if (base_key.empty()) return std::nullopt;
  return known.family_of(base_key);
}

std::vector<std::size_t> ground_of_packages(const Plan& plan, const Ground* on, const std::vector<std::size_t>& ground) {
  if (on == nullptr || on->packages_over_modules) return ground;
  std::vector<std::size_t> lower;
  for (const std::size_t index : ground) {
    const std::string kind = plan.layers[index].inputs.value("kind", "");
    if (kind == "base" || kind == "packages") lower.push_back(index);
  }
  // An image that came from elsewhere is not made of such.
  return lower.empty() ? ground : lower;
}

Json package_inputs(const char* kind, const std::set<std::string>& packages, const std::optional<std::string>& family) {
  if (family && family->empty()) {
    Error error(fmt::format("the base has no package manager that kiln knows, and packages are asked for: {}",
                            join({packages.begin(), packages.end()}, ", ")));
    error.set_hint("kiln knows apt-get, dnf, microdnf and yum");
    throw error;
  }
  Json inputs = {{"kind", kind}, {"packages", packages}};
  // Without a known base nobody can tell which packages they are.
  if (!family) inputs["family"] = nullptr;
  if (family && *family != "debian") inputs["family"] = *family;
  return inputs;
}

void plan_packages(Plan& plan, const std::string& when, const std::set<std::string>& packages, const std::optional<std::string>& family,
                   const Ground* on, std::vector<std::size_t>& ground, const LockDigest& lock_of) {
  finish_layer(
      plan, {Kind::kPackages, "packages" + when, "", package_inputs("packages", packages, family), ground_of_packages(plan, on, ground), 0},
      lock_of);
  ground.push_back(plan.layers.size() - 1);
}

// What module `index` is built with, over all that it stands on, and under its layer: `below` gets it as its topmost.
void plan_build(Plan& plan, std::size_t index, const std::string& when, const std::optional<std::string>& family,
                std::vector<std::size_t>& below) {
  const PlannedModule& module = plan.modules[index];
  if (!module.is_built()) return;
  std::set<std::string> packages;
  const auto& lists = module.manifest.build->packages;
  add_family_packages(packages, lists, family.value_or("debian"), module, plan.spec.architecture);
  if (!family && packages.empty()) add_family_packages(packages, lists, "rpm", module, plan.spec.architecture);
  if (packages.empty()) return;
  Json inputs = package_inputs("build", packages, family);
  inputs["module"] = module.manifest.name;
  finish_layer(plan, {Kind::kBuild, "build " + module.manifest.name + when, "", std::move(inputs), below, index});
  below.push_back(plan.layers.size() - 1);
}

// The modules with a warm.sh, what those require or come after, and who requires or comes after those: by index.
std::set<std::size_t> warmed_modules(const std::vector<PlannedModule>& modules) {
  const auto comes_after = [&](std::size_t later, std::size_t earlier) {
    const auto& after = modules[later].manifest.after;
    const auto& below = modules[later].below;
    return std::find(after.begin(), after.end(), modules[earlier].manifest.name) != after.end() ||
           std::find(below.begin(), below.end(), earlier) != below.end();
  };
  std::set<std::size_t> warmed;
  for (std::size_t warm = 0; warm < modules.size(); ++warm) {
    if (!modules[warm].has("warm.sh")) continue;
    warmed.insert(warm);
    for (std::size_t other = 0; other < modules.size(); ++other) {
      if (comes_after(warm, other) || comes_after(other, warm)) warmed.insert(other);
    }
  }
  for (const std::size_t module : std::set<std::size_t>(warmed)) warmed.insert(modules[module].below.begin(), modules[module].below.end());
  return warmed;
}

}  // namespace

Plan make_plan(const config::ImageSpec& spec, std::vector<PlannedModule> modules, const std::string& agent_digest, const Known& known,
               const Ground* on, const LockDigest& lock_of) {
  Plan plan{spec, config::builtin_values(spec.base, spec.architecture), std::move(modules), {}};
  const std::string when = on != nullptr ? " " + on->words : "";
  std::vector<std::size_t> ground = {0};
  if (on == nullptr) finish_layer(plan, plan_base(spec, known.digest_of), lock_of);
  const std::optional<std::string> family = package_family(spec, on != nullptr ? on->image.layers.at(0).key : plan.layers[0].key, known);
  auto packages = distribution_packages(spec, plan.modules, family.value_or("debian"));
  if (!family && packages.empty()) packages = distribution_packages(spec, plan.modules, "rpm");
  if (on != nullptr) ground = plan_given(plan, on->image, packages);
  if (!packages.empty()) plan_packages(plan, when, packages, family, on, ground, lock_of);

  std::map<std::size_t, std::size_t> layer_of_module;
  for (std::size_t i = 0; i < plan.modules.size(); ++i) {
    const PlannedModule& module = plan.modules[i];
    if (!module.has("init.sh")) continue;
    PlannedLayer layer{Kind::kModule, "module " + module.manifest.name + when, "", {}, ground, i};
    for (const std::size_t below : module.below) {
      if (const auto found = layer_of_module.find(below); found != layer_of_module.end()) layer.below.push_back(found->second);
    }
    plan_build(plan, i, when, family, layer.below);
    Json sources = Json::object();
    for (const auto& request : module.sources) {
      const auto digest = known.digest_of(request);
      sources[request.spec.name] = digest ? Json(*digest) : Json(nullptr);
    }
    layer.inputs = {{"kind", "module"},
                    {"module", module.manifest.name},
                    {"network", module.has_network()},
                    {"builtins", plan.builtins},
                    {"modules", {{module.manifest.name, module_input(files_for_script(module, "init.sh"), module.params)}}},
                    {"sources", sources}};
    if (on != nullptr) layer.inputs["stage"] = on->stage;
    finish_layer(plan, std::move(layer));
    layer_of_module[i] = plan.layers.size() - 1;
  }

  const auto all_layers = [&] {
    std::vector<std::size_t> all;
    for (std::size_t i = 0; i < plan.layers.size(); ++i) {
      if (plan.layers[i].kind != Kind::kBuild) all.push_back(i);
    }
    return all;
  };
  Json warm = Json::object(), nodes = Json::object();
  for (const auto& module : plan.modules) {
    if (module.has("warm.sh")) warm[module.manifest.name] = module_input(files_for_script(module, "warm.sh"), module.params);
    nodes[module.manifest.name] = module_input(module.files, module.params);
  }
  if (spec.warm && !warm.empty()) {
    std::vector<std::size_t> below = ground;
    for (const std::size_t module : warmed_modules(plan.modules)) {
      if (const auto found = layer_of_module.find(module); found != layer_of_module.end()) below.push_back(found->second);
    }
    finish_layer(plan, {Kind::kWarm, "warm" + when, "", {{"kind", "warm"}, {"builtins", plan.builtins}, {"modules", warm}}, below, 0});
  }
  finish_layer(plan, {Kind::kAgent,
                      "agent" + when,
                      "",
                      {{"kind", "agent"},
                       {"agent", agent_digest},
                       {"bill", kBillFormat},
                       {"image", spec.name},
                       {"builtins", plan.builtins},
                       {"modules", nodes}},
                      all_layers(),
                      0});
  return plan;
}

}  // namespace kiln::bake
