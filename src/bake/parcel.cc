#include "bake/parcel.h"

#include "bake/plan.h"
#include "bake/scripts.h"
#include "bake/sources.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "base/process.h"

namespace kiln::bake {

namespace {

// Fetching waits for the network; more than a few connections to one host gain nothing.
constexpr std::size_t kFetchesAtOnce = 6;

struct FetchedSource {
  const PlannedModule* module;
  const SourceRequest* request;
  SourceRecord record;
};

std::vector<FetchedSource> fetch_sources(const Sources& sources, const std::vector<PlannedModule>& modules) {
  std::vector<FetchedSource> all;
  for (const auto& module : modules) {
    if (!module.has("init.sh")) continue;
    for (const auto& request : module.sources) all.push_back({&module, &request, {}});
  }
  parallel_for(all.size(), kFetchesAtOnce, [&](std::size_t i) {
    const auto known = sources.find(*all[i].request);
    all[i].record = known && sources.is_cached(*known) ? *known : sources.fetch(*all[i].request);
  });
  return all;
}

// Within one file system no byte is copied.
void put(const fs::path& from, const fs::path& to, bool may_link) {
  make_folder(to.parent_path());
  run_checked({"cp", may_link ? "-al" : "-a", from.native(), to.native()});
}

// Where a source is in the parcel: a folder, or a file below one of its own.
std::string place_of(const FetchedSource& source) {
  const std::string folder = fmt::format("sources/{}/{}", source.module->manifest.name, source.request->spec.name);
  return source.record.folder ? folder : folder + "/" + source.record.name;
}

Json plan_module(const PlannedModule& module, const config::Values& builtins, std::int64_t epoch,
                 const std::vector<FetchedSource>& sources) {
  Json entry = {{"name", module.manifest.name}, {"sources", Json::array()}};
  if (!module.has("init.sh")) return entry;
  // KILN_JOBS and KILN_SOURCE_… are the machine's to say.
  Script script = module_script(module, builtins, "deploy", "init.sh", epoch, 1, {}, false);
  for (const auto& source : sources) {
    const std::string commit = commit_of(source.record.from);
    if (source.module == &module && !commit.empty())
      script.env[fmt::format("KILN_SOURCE_{}_COMMIT", config::variable_name(source.request->spec.name))] = commit;
  }
  entry["script"] = {{"argv", script.argv}, {"env", script.env}, {"timeout", module.manifest.timeout.count()}};
  for (const auto& source : sources) {
    if (source.module != &module) continue;
    const auto& spec = source.request->spec;
    entry["sources"].push_back({{"name", spec.name},
                                {"variable", "KILN_SOURCE_" + config::variable_name(spec.name)},
                                {"path", place_of(source)},
                                {"unpack", !source.record.folder && spec.unpack()}});
  }
  return entry;
}

// As in an image (bake_layers.cc): the agent reads no YAML, and defaults are what was installed.
void put_module(const fs::path& folder, const PlannedModule& module) {
  const fs::path place = folder / "modules" / module.manifest.name;
  make_folder(place);
  for (const auto& [file, digest] : module.files) put(module.manifest.folder / file, place / file, false);
  config::Module installed = module.manifest;
  installed.folder.clear();
  for (const auto& [parameter, value] : module.params) installed.params[parameter].default_value = value;
  write_file_atomically(place / "module.json", config::module_to_json(installed).dump(1) + "\n");
}

std::string image_text(const config::ImageSpec& spec, const std::vector<PlannedModule>& modules, const config::Values& builtins) {
  Json listed = Json::array();
  for (const auto& module : modules)
    listed.push_back({{"name", module.manifest.name}, {"summary", module.manifest.summary}, {"params", module.params}});
  const Json text = {
      {"kiln", 1},        {"name", spec.name}, {"suite", spec.base.suite}, {"architecture", spec.architecture}, {"builtins", builtins},
      {"modules", listed}};
  return text.dump(1) + "\n";
}

fs::path files_of(const config::SearchPath& path, const char* module) { return config::find_module(path, std::string(module)) / "files"; }

void pack(const fs::path& folder, const fs::path& file, std::int64_t epoch) {
  run_checked({"tar", "--create", "--file", file.native(), "--format=gnu", "--sort=name", fmt::format("--mtime=@{}", epoch), "--owner=0",
               "--group=0", "--numeric-owner", "--mode=u+rw,go+r,go-w", "--hard-dereference", "--directory", folder.native(), "."});
}

}  // namespace

namespace {

// A machine of a stranger's image would keep all that it is built with, and every one would do the work of a bake.
void check_nothing_is_built(const config::ImageSpec& spec, const std::vector<PlannedModule>& modules) {
  for (const auto& module : modules) {
    if (!module.is_built()) continue;
    UsageError error(fmt::format("module '{}' is built as it is asked for, which a machine of image '{}' cannot do while it starts",
                                 module.manifest.name, spec.name));
    error.set_hint("`kiln bake --target ami` makes an image with it, once, to launch from");
    throw error;
  }
}

}  // namespace

Parcel make_parcel(Store& store, const config::ImageSpec& spec, const StockSystem& system, const BakeOptions& options) {
  const auto builtins = config::builtin_values(spec.base, spec.architecture);
  const auto modules = plan_modules(spec, options.modules, builtins);
  check_nothing_is_built(spec, modules);
  const FileLock in_use = store.in_use();
  const Sources sources(store);
  const auto fetched = fetch_sources(sources, modules);

  Activity activity("parcel");
  Parcel parcel{store.make_work_folder(), {}, {}, {}};
  const fs::path folder = parcel.work.path() / "parcel";
  for (const auto& module : modules) put_module(folder, module);
  for (const auto& source : fetched) put(sources.path_of(source.record), folder / place_of(source), true);
  put(options.agent.empty() ? find_agent(spec.architecture) : options.agent, folder / "kiln-node", false);
  put(files_of(options.modules, "machine") / "mount-disks", folder / "mount-disks", false);
  put(files_of(options.modules, "stock"), folder / "stock", false);
  write_file_atomically(folder / "image.json", image_text(spec, modules, builtins));
  Json plan = {{"os", {system.id, system.version}},
               {"family", system.package_family},
               {"packages", distribution_packages(spec, modules, system.package_family)},
               {"modules", Json::array()}};
  for (const auto& module : modules) plan["modules"].push_back(plan_module(module, builtins, spec.epoch, fetched));
  write_file_atomically(folder / "plan.json", plan.dump(1) + "\n");
  parcel.file = parcel.work.path() / "parcel.tar";
  pack(folder, parcel.file, spec.epoch);
  parcel.sha256 = sha256_hex_of_file(parcel.file);

  parcel.image.name = spec.name;
  parcel.image.digest = parcel.sha256;
  parcel.image.architecture = spec.architecture;
  parcel.image.suite = spec.base.suite;
  parcel.image.spec = config::image_spec_to_json(spec);
  for (const auto& module : modules) parcel.image.modules.push_back({module.manifest, module.params});
  activity.finish({{"size_bytes", fs::file_size(parcel.file)}});
  return parcel;
}

std::map<std::string, std::string> stock_files(const config::SearchPath& modules) {
  std::map<std::string, std::string> texts;
  for (const char* name : {"bootstrap", "kiln-stock.service"}) texts[name] = read_file(files_of(modules, "stock") / name);
  return texts;
}

}  // namespace kiln::bake
