// Writes lock files, and reads them back. What they mean for a bake is in lock_check.cc.
#include "bake/lock.h"

#include <algorithm>
#include <limits>

#include "bake/archive_facts.h"
#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "config/yaml.h"

namespace kiln::bake {

namespace {

constexpr int kLockVersion = 1;
const std::string kSha256 = "sha256:";

const Layer* layer_of_kind(const Image& image, const std::string& kind) {
  for (const auto& layer : image.layers) {
    if (layer.inputs.value("kind", "") == kind) return &layer;
  }
  return nullptr;
}

std::string package_words(const DistributionPackage& package, const std::map<std::string, std::string>& digests) {
  const std::string words = package.name + " " + package.version + " " + package.architecture;
  const auto found = digests.find(words);
  const std::string& digest = found == digests.end() ? package.digest : found->second;
  return digest.empty() ? words : words + " sha256:" + digest;
}

// Without those that the image `on` has.
Json modules_of(const Bill& bill, const Image* on = nullptr) {
  Json modules = Json::object();
  for (const auto& module : bill.modules) {
    const auto is_it = [&](const ImageModule& other) { return other.manifest.name == module.name; };
    if (on != nullptr && std::any_of(on->modules.begin(), on->modules.end(), is_it)) continue;
    Json sources = Json::object();
    for (const auto& source : module.sources) {
      // What gave it is for people, and for git, whose commit stands in it.
      sources[source.name] = {{"digest", source.record.digest}, {"from", source.record.from}};
    }
    modules[module.name] = {{"params", module.params}, {"files", module.files}, {"sources", sources}};
  }
  return modules;
}

// What lock files tell of packages, layer after layer.
class PackageLists {
 public:
  explicit PackageLists(const Store& store) : store_(store) {}

  // All that is installed once this layer of the image is made.
  Json after(const Image& image, const Layer& layer, const std::string& word) {
    std::vector<std::string> keys;
    for (const auto& below : image.layers) {
      keys.push_back(below.key);
      if (below.key == layer.key) break;
    }
    const Json archive = stored_archive_facts(store_, layer.key);
    digests_.merge(package_digests(archive));
    for (Json release : archive.value("releases", Json::array())) {
      release["layer"] = word;
      releases_.push_back(std::move(release));
    }
    Json list = Json::array();
    for (const auto& package : installed_packages(layer_bills(store_, keys, image.architecture))) {
      list.push_back(package_words(package, digests_));
      if (package.kind == "rpm") rpm_ = true;
    }
    return list;
  }
  const Json& releases() const { return releases_; }
  bool has_rpm() const { return rpm_; }

 private:
  const Store& store_;
  std::map<std::string, std::string> digests_;
  Json releases_ = Json::array();
  bool rpm_ = false;
};

class Unpinned {
 public:
  void add(const std::string& what, const std::string& why) { list_.push_back({{"what", what}, {"why", why}}); }

  void add_packages(const Json& lock, bool whole_base) {
    std::size_t packages = 0, without_digest = 0;
    const auto count = [&](const Json& names) {
      packages += names.size();
      for (const auto& name : names) without_digest += name.get<std::string>().find(" sha256:") == std::string::npos ? 1 : 0;
    };
    for (const auto& [layer, names] : lock.at("packages").items()) {
      // An image's or a tarball's own digest says it all.
      if (layer != "base" || !whole_base) count(names);
    }
    for (const auto& addition : lock.at("added")) count(addition.at("packages"));
    const bool rpm = lock.contains("family");
    if (packages > 0) {
      add("distribution packages",
          rpm ? "repositories drop a version when there is a newer one; a copy of them keeps it"
              : "mirrors drop a version when there is a newer one; snapshot.debian.org, as the base's mirror, has them all");
    }
    if (without_digest > 0) {
      add(fmt::format("the content of {} distribution packages", without_digest),
          rpm ? "the image's rpm does not tell their SHA-256; their versions are locked"
              : "no list of the mirror's named their SHA-256; their versions are locked");
    }
    if (rpm && packages > 0)
      add("the bytes of rpm's database", "older versions of rpm write into it at what time they installed each package");
  }

  // Of an image, or of what was added to the image `on`.
  void add_modules(const Image& image, const Image* on = nullptr) {
    const auto is_new_layer = [&](const Layer& layer) {
      return on == nullptr ||
             std::none_of(on->layers.begin(), on->layers.end(), [&](const Layer& other) { return other.key == layer.key; });
    };
    for (std::size_t i = on == nullptr ? 0 : on->modules.size(); i < image.modules.size(); ++i) {
      const auto& manifest = image.modules[i].manifest;
      const auto& build = manifest.build;
      const bool built = build && config::holds(build->condition, image.modules[i].params);
      if (manifest.network) add("module " + manifest.name, "its init.sh may get things from the network (network: true)");
      if (built) add("module " + manifest.name, "it is built, with packages that are not locked, maybe from the network (build:)");
    }
    for (const auto& layer : image.layers) {
      if (layer.inputs.value("kind", "") != "warm" || !is_new_layer(layer)) continue;
      std::vector<std::string> names;
      const Json modules = layer.inputs.value("modules", Json::object());
      for (const auto& [name, module] : modules.items()) names.push_back(name);
      add("warm.sh of " + join(names, ", "),
          "it runs what was installed, and kiln cannot tell whether that leaves the same bytes each time");
    }
  }
  const Json& list() const { return list_; }

 private:
  Json list_ = Json::array();
};

// What a target laid over the image.
Json addition_of(const Store& store, const Image& image, const Image& with, const std::string& module, PackageLists& packages) {
  Json addition = {
      {"warm", false}, {"requested", Json::array()}, {"packages", Json::array()}, {"modules", modules_of(bill_of(store, with), &image)}};
  for (const auto& layer : with.layers) {
    const auto is_it = [&](const Layer& other) { return other.key == layer.key; };
    if (std::any_of(image.layers.begin(), image.layers.end(), is_it)) continue;
    const std::string kind = layer.inputs.value("kind", "");
    if (kind == "warm") addition["warm"] = true;
    if (kind != "packages") continue;
    addition["requested"] = layer.inputs.at("packages");
    addition["packages"] = packages.after(with, layer, module);
  }
  return addition;
}

LockedPackage read_package(const config::Value& value) {
  const auto words = split(value.as_string("a package"), ' ');
  const bool has_digest = words.size() == 4 && words[3].starts_with("sha256:");
  if (words.size() != 3 && !has_digest) value.fail("this is no package", "NAME VERSION ARCHITECTURE, and sha256:DIGEST where it is known");
  for (const auto& word : words) {
    if (word.empty() || word.find_first_of("\n\t*") != std::string::npos) value.fail("this is no package", "NAME VERSION ARCHITECTURE");
  }
  return {words[0], words[1], words[2], has_digest ? words[3].substr(7) : std::string()};
}

std::map<std::string, std::string> read_texts(const config::Value& map, const std::string& what) {
  std::map<std::string, std::string> texts;
  for (const auto& [name, value] : map.as_map(what)) texts[name] = value.is_null() ? "" : value.as_string("'" + name + "'");
  return texts;
}

LockedModule read_module(const config::Value& value, const std::string& name) {
  const std::string what = "module '" + name + "'";
  value.only_keys(what, {"params", "files", "sources"});
  LockedModule module;
  module.params = read_texts(value["params"], "'params'");
  module.files = read_texts(value["files"], "'files'");
  for (const auto& [source, locked] : value["sources"].as_map("'sources'")) {
    locked.only_keys("source '" + source + "'", {"digest", "from"});
    const std::string digest = locked.required("source '" + source + "'", "digest").as_string("'digest'");
    module.sources[source] = {digest, locked["from"].is_null() ? "" : locked["from"].as_string("'from'")};
  }
  return module;
}

std::vector<LockedPackage> read_packages(const config::Value& list, const std::string& what) {
  std::vector<LockedPackage> packages;
  for (const auto& package : list.as_list(what)) packages.push_back(read_package(package));
  return packages;
}

std::map<std::string, LockedModule> read_modules(const config::Value& map) {
  std::map<std::string, LockedModule> modules;
  for (const auto& [name, module] : map.as_map("'modules'")) modules[name] = read_module(module, name);
  return modules;
}

LockedAddition read_addition(const config::Value& value, const std::string& name) {
  const std::string what = "'added' of module '" + name + "'";
  value.only_keys(what, {"warm", "requested", "packages", "modules"});
  return {value.required(what, "warm").as_bool("'warm'"), value["requested"].as_strings("'requested'"),
          read_packages(value.required(what, "packages"), "'packages'"), read_modules(value.required(what, "modules"))};
}

}  // namespace

fs::path default_lock_file(const fs::path& spec_file) { return spec_file.parent_path() / (spec_file.stem().native() + ".lock.json"); }

std::map<std::string, std::string> base_words(const Json& inputs) {
  std::map<std::string, std::string> words;
  // Whatever kinds there are, they need no line here.
  for (const auto& [name, value] : inputs.items()) {
    if (name == "format" || name == "kind" || name == "epoch" || name == "architecture" || name == "lock") continue;
    if (name != "sources") {
      words[name] = value.is_string() ? value.get<std::string>() : value.dump();
      continue;
    }
    for (const auto& [source, digest] : value.items()) words[source] = digest.is_string() ? kSha256 + digest.get<std::string>() : "";
  }
  return words;
}

std::string Lock::base_image() const {
  const auto found = base.find("image");
  return found == base.end() || !found->second.starts_with(kSha256) ? std::string() : found->second.substr(kSha256.size());
}

std::string lock_text(const Store& store, const Image& image, const std::map<std::string, Image>& added) {
  const Bill bill = bill_of(store, image);
  const Layer* base = layer_of_kind(image, "base");
  if (base == nullptr) fail("image '{}' has no base layer to lock", image.name);
  Json json = {{"kiln_lock", kLockVersion},
               {"image", image.name},
               {"architecture", image.architecture},
               {"layer_format", base->inputs.value("format", 0)},
               {"epoch", bill.epoch},
               {"warm", layer_of_kind(image, "warm") != nullptr},
               {"base", base_words(base->inputs)},
               {"requested", Json::array()},
               {"packages", Json::object()},
               {"modules", modules_of(bill)},
               {"added", Json::object()}};
  PackageLists packages(store);
  for (const char* kind : {"base", "packages"}) {
    const Layer* layer = layer_of_kind(image, kind);
    if (layer == nullptr) continue;
    if (const auto requested = layer->inputs.find("packages"); requested != layer->inputs.end()) json["requested"] = *requested;
    json["packages"][kind] = packages.after(image, *layer, kind);
  }
  for (const auto& [module, with] : added) json["added"][module] = addition_of(store, image, with, module, packages);
  json["releases"] = packages.releases();
  if (packages.has_rpm()) json["family"] = "rpm";

  Unpinned unpinned;
  const bool from_image = base->inputs.contains("sources");
  if (from_image) unpinned.add("the base's image", "its digest is locked, but a registry may delete what no tag stands for any more");
  unpinned.add_packages(json, from_image || base->inputs.contains("tarball"));
  unpinned.add_modules(image);
  for (const auto& [module, with] : added) unpinned.add_modules(with, &image);
  unpinned.add("kiln-node", "it comes with the kiln that bakes: it was " KILN_VERSION ", sha256:" + bill.agent_digest);
  json["unpinned"] = unpinned.list();
  return json.dump(1) + "\n";
}

Lock read_lock(const fs::path& file) {
  if (!fs::exists(file)) {
    UsageError error(fmt::format("there is no lock file '{}'", file.native()));
    error.set_hint("`kiln bake SPEC --lock` writes it; --lock-file FILE names another");
    throw error;
  }
  const auto root = config::Value::parse(file.native(), config::read_config_file(file.native()));
  root.only_keys("the lock file", {"kiln_lock", "image", "architecture", "layer_format", "epoch", "warm", "base", "family", "requested",
                                   "releases", "packages", "modules", "added", "unpinned"});
  const auto version = root.required("the lock file", "kiln_lock");
  if (version.as_int("'kiln_lock'", 1, 1000) != kLockVersion)
    version.fail(fmt::format("this kiln reads lock files of version {}", kLockVersion), "`kiln bake SPEC --lock` writes a new one");
  Lock lock;
  lock.file = file;
  lock.image = root.required("the lock file", "image").as_string("'image'");
  lock.architecture = root.required("the lock file", "architecture").as_string("'architecture'");
  lock.layer_format = root.required("the lock file", "layer_format").as_int("'layer_format'", 0, 1'000'000);
  lock.epoch = root.required("the lock file", "epoch").as_int("'epoch'", 0, std::numeric_limits<std::int64_t>::max());
  lock.warm = root.required("the lock file", "warm").as_bool("'warm'");
  for (const auto& release : root["releases"].as_list("'releases'")) {
    if (lock.date.empty() && !release["date"].is_null()) lock.date = release["date"].as_string("'date'");
  }
  lock.base = read_texts(root.required("the lock file", "base"), "'base'");
  lock.requested = root["requested"].as_strings("'requested'");
  lock.family = root["family"].is_null() ? "debian" : root["family"].as_string("'family'");
  const auto packages = root.required("the lock file", "packages");
  packages.only_keys("'packages'", {"base", "packages"});
  for (const auto& [layer, list] : packages.as_map("'packages'")) lock.packages[layer] = read_packages(list, "'" + layer + "'");
  lock.modules = read_modules(root.required("the lock file", "modules"));
  for (const auto& [name, addition] : root["added"].as_map("'added'")) lock.added[name] = read_addition(addition, name);
  return lock;
}

}  // namespace kiln::bake
