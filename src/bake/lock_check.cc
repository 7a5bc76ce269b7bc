// What a lock means for a bake: the spec must be the one that was locked, and what is installed and fetched must be what was recorded.
#include <algorithm>
#include <ctime>
#include <set>

#include "bake/lock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"

namespace kiln::bake {

namespace {

// More lines than these say nothing more.
constexpr std::size_t kMostLines = 12;

std::string listed(const std::vector<std::string>& lines) {
  std::vector<std::string> shown(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(std::min(kMostLines, lines.size())));
  if (lines.size() > kMostLines) shown.push_back(fmt::format("and {} more", lines.size() - kMostLines));
  return "\n  " + join(shown, "\n  ");
}

std::string plain(const std::string& value) { return value.empty() ? "(empty)" : value; }

void compare_texts(std::vector<std::string>& lines, const std::string& what, const std::map<std::string, std::string>& locked,
                   const std::map<std::string, std::string>& now, bool show_values) {
  for (const auto& [name, value] : locked) {
    const auto found = now.find(name);
    if (found == now.end())
      lines.push_back(fmt::format("{} '{}' is gone", what, name));
    else if (found->second != value)
      lines.push_back(show_values ? fmt::format("{} '{}' was {}, and is {}", what, name, plain(value), plain(found->second))
                                  : fmt::format("{} '{}' changed", what, name));
  }
  for (const auto& [name, value] : now) {
    if (locked.count(name) == 0) lines.push_back(fmt::format("{} '{}' is new", what, name));
  }
}

void compare_module(std::vector<std::string>& lines, const LockedModule& locked, const PlannedModule& now) {
  const std::string of = "module '" + now.manifest.name + "': ";
  compare_texts(lines, of + "parameter", locked.params, now.params, true);
  compare_texts(lines, of + "file", locked.files, now.files, false);
  if (!now.has("init.sh")) return;  // nothing is fetched for it
  std::set<std::string> names;
  for (const auto& request : now.sources) names.insert(request.spec.name);
  for (const auto& name : names) {
    if (locked.sources.count(name) == 0) lines.push_back(of + "source '" + name + "' is not in the lock");
  }
}

// Where Debian keeps every state of its archive, at the time of the locked one. An archive is copied there some hours after its date.
std::string snapshot_url(const Lock& lock) {
  constexpr std::time_t kCopied = 6 * 3600;
  std::tm parts{};
  char text[32] = "DATE";
  if (::strptime(lock.date.c_str(), "%a, %d %b %Y %H:%M:%S", &parts) != nullptr) {
    const std::time_t time = ::timegm(&parts) + kCopied;
    ::gmtime_r(&time, &parts);
    std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &parts);
  }
  return fmt::format("https://snapshot.debian.org/archive/debian/{}/", text);
}

std::string words(const LockedPackage& package) { return fmt::format("{} {} ({})", package.name, package.version, package.architecture); }

}  // namespace

std::vector<LockedPackage> Lock::state_after(const std::string& layer) const {
  for (const auto& name : {layer, std::string("base")}) {
    if (const auto found = packages.find(name); found != packages.end()) return found->second;
  }
  return {};
}

std::string Lock::preferences(const std::string& layer) const {
  std::string text;
  // Above 1000: also when it is older than what is installed. Nobody is asked about that, as nothing newer is installed.
  for (const auto& package : state_after(layer))
    text += fmt::format("Package: {}\nPin: version {}\nPin-Priority: 1001\n\n", package.name, package.version);
  return text;
}

std::vector<std::string> Lock::rpm_packages(const std::string& layer) const {
  std::vector<std::string> names;
  const auto base_packages = state_after("base");
  for (const auto& package : state_after(layer)) {
    if (std::find(base_packages.begin(), base_packages.end(), package) == base_packages.end())
      names.push_back(fmt::format("{}-{}.{}", package.name, package.version, package.architecture));
  }
  return names;
}

Lock lock_of_addition(const Lock& lock, const std::string& module) {
  const auto found = lock.added.find(module);
  if (found == lock.added.end()) {
    UsageError error(fmt::format("'{}' does not say what module '{}', which a target adds to the image, was made of", lock.file, module));
    error.set_hint("it was written without that target; `--lock` with the same targets writes one that does");
    throw error;
  }
  Lock added = lock;
  added.warm = found->second.warm;
  added.requested = found->second.requested;
  added.modules = found->second.modules;
  added.packages = {{"base", lock.state_after("packages")}};
  if (!found->second.packages.empty()) added.packages["packages"] = found->second.packages;
  return added;
}

void pin_image(SourceRequest& request, const std::string& sha256) {
  for (auto& location : request.spec.mirrors) location.sha256 = sha256;
}

void pin_commits(const Lock& lock, std::vector<PlannedModule>& modules) {
  for (auto& module : modules) {
    const auto locked = lock.modules.find(module.manifest.name);
    if (locked == lock.modules.end()) continue;
    for (auto& request : module.sources) {
      const auto source = locked->second.sources.find(request.spec.name);
      if (source == locked->second.sources.end()) continue;
      const std::string commit = commit_of(source->second.from);
      if (commit.empty()) continue;
      for (auto& location : request.spec.mirrors) {
        if (location.kind == config::SourceLocation::Kind::kGit) location.ref = commit;
      }
    }
  }
}

void check_lock(const Lock& lock, const Plan& plan) {
  std::vector<std::string> lines;
  const auto differ = [&](const char* what, const std::string& locked, const std::string& now) {
    if (locked != now) lines.push_back(fmt::format("{} was {}, and is {}", what, plain(locked), plain(now)));
  };
  differ("the image's name", lock.image, plan.spec.name);
  differ("the architecture", lock.architecture, plan.spec.architecture);
  differ("the way in which kiln makes layers", std::to_string(lock.layer_format), std::to_string(kLayerFormat));
  differ("the epoch", std::to_string(lock.epoch), std::to_string(plan.spec.epoch));
  const auto is_warm = [](const PlannedLayer& layer) { return layer.kind == PlannedLayer::Kind::kWarm; };
  const bool warm = std::any_of(plan.layers.begin(), plan.layers.end(), is_warm);
  differ("whether modules warm up", lock.warm ? "yes" : "no", warm ? "yes" : "no");
  auto locked_base = lock.base, base = base_words(plan.layers.at(0).inputs);
  // Wherever packages come from, they are what the lock says: a mirror that keeps old versions is the way to have them.
  locked_base.erase("mirror");
  base.erase("mirror");
  compare_texts(lines, "the base's", locked_base, base, true);
  std::set<std::string> locked_packages(lock.requested.begin(), lock.requested.end()), packages;
  for (const auto& layer : plan.layers) {
    if (layer.kind != PlannedLayer::Kind::kPackages) continue;
    packages = layer.inputs.at("packages").get<std::set<std::string>>();
    // The base is not here yet, and so nobody knows whose packages they are: the next plan tells.
    if (layer.inputs.contains("family") && layer.inputs["family"].is_null()) locked_packages = packages;
  }
  for (const auto& name : packages) {
    if (locked_packages.count(name) == 0) lines.push_back("package '" + name + "' is not in the lock");
  }
  for (const auto& name : locked_packages) {
    if (packages.count(name) == 0) lines.push_back("package '" + name + "' is not asked for any more");
  }
  std::set<std::string> names;
  for (const auto& module : plan.modules) {
    names.insert(module.manifest.name);
    const auto locked = lock.modules.find(module.manifest.name);
    if (locked == lock.modules.end())
      lines.push_back("module '" + module.manifest.name + "' is not in the lock");
    else
      compare_module(lines, locked->second, module);
  }
  for (const auto& [name, module] : lock.modules) {
    if (names.count(name) == 0) lines.push_back("module '" + name + "' is not in the image any more");
  }
  if (lines.empty()) return;
  UsageError error(fmt::format("'{}' is the lock of something else than this spec:{}", lock.file, listed(lines)));
  error.set_hint("`kiln bake " + plan.spec.file.native() + " --lock` writes a new one");
  throw error;
}

std::string locked_source(const Lock& lock, const SourceRequest& request) {
  const auto module = lock.modules.find(request.module);
  if (module == lock.modules.end()) return {};
  const auto source = module->second.sources.find(request.spec.name);
  return source == module->second.sources.end() ? std::string() : source->second.digest;
}

void check_locked_source(const Lock& lock, const SourceRequest& request, const std::string& digest) {
  const std::string locked = locked_source(lock, request);
  if (locked.empty() || locked == digest) return;
  Error error(fmt::format("source '{}' of module '{}' is not what '{}' recorded: its digest is {}, the lock has {}", request.spec.name,
                          request.module, lock.file, digest.substr(0, 12), locked.substr(0, 12)));
  error.set_hint("it was replaced where it comes from, or the lock was changed by hand; `--lock` records it as it is now");
  throw error;
}

std::vector<std::string> differences_from_lock(const Lock& lock, const std::string& layer,
                                               const std::vector<DistributionPackage>& installed,
                                               const std::map<std::string, std::string>& digests) {
  std::vector<std::string> lines;
  // Of a kernel there may be several versions.
  std::multimap<std::string, const DistributionPackage*> there;
  for (const auto& package : installed) there.emplace(package.name + " " + package.architecture, &package);
  const auto state = lock.state_after(layer);
  std::vector<const DistributionPackage*> same(state.size());
  for (std::size_t i = 0; i < state.size(); ++i) {
    const auto range = there.equal_range(state[i].name + " " + state[i].architecture);
    const auto found =
        std::find_if(range.first, range.second, [&](const auto& entry) { return entry.second->version == state[i].version; });
    if (found == range.second) continue;
    same[i] = found->second;
    there.erase(found);
  }
  for (std::size_t i = 0; i < state.size(); ++i) {
    const auto& locked = state[i];
    if (same[i] != nullptr) {
      const auto listed = digests.find(locked.name + " " + locked.version + " " + locked.architecture);
      const std::string& digest = listed == digests.end() ? same[i]->digest : listed->second;
      if (!digest.empty() && !locked.sha256.empty() && digest != locked.sha256) {
        lines.push_back(
            fmt::format("{} has another content: SHA-256 {}…, not {}…", words(locked), digest.substr(0, 12), locked.sha256.substr(0, 12)));
      }
      continue;
    }
    const auto other = there.find(locked.name + " " + locked.architecture);
    if (other == there.end()) {
      lines.push_back(words(locked) + " can no longer be had: it was not installed");
      continue;
    }
    lines.push_back(fmt::format("{} can no longer be had: there is {}", words(locked), other->second->version));
    there.erase(other);
  }
  for (const auto& [name, package] : there)
    lines.push_back(fmt::format("{} {} ({}) is not in the lock", package->name, package->version, package->architecture));
  return lines;
}

void check_locked_packages(const Lock& lock, const std::string& layer, const std::vector<DistributionPackage>& installed,
                           const std::map<std::string, std::string>& digests) {
  const auto lines = differences_from_lock(lock, layer, installed, digests);
  if (lines.empty()) return;
  Error error(fmt::format("the distribution packages are not those that '{}' recorded:{}", lock.file, listed(lines)));
  error.set_hint(lock.family == "rpm"
                     ? "repositories drop old versions; one that keeps them can be named in the base's configuration"
                     : "mirrors drop old versions; one that keeps them can be the base's 'mirror', such as " + snapshot_url(lock));
  throw error;
}

std::string lock_digest(const Lock& lock, const std::string& layer) {
  std::string text;
  for (const auto& package : lock.state_after(layer)) text += words(package) + " " + package.sha256 + "\n";
  return sha256_hex(text);
}

}  // namespace kiln::bake
