#include "image/diff.h"

#include <map>
#include <set>

#include "bake/steps.h"
#include "base/strings.h"

namespace kiln::image {

namespace {

using Things = std::map<std::string, std::string>;

std::vector<Change> compare(const Things& before, const Things& after) {
  std::vector<Change> changes;
  auto a = before.begin();
  auto b = after.begin();
  while (a != before.end() || b != after.end()) {
    const bool only_before = b == after.end() || (a != before.end() && a->first < b->first);
    const bool only_after = !only_before && (a == before.end() || b->first < a->first);
    if (only_before) {
      changes.push_back({a->first, a->second, ""});
    } else if (only_after) {
      changes.push_back({b->first, "", b->second});
    } else if (a->second != b->second) {
      changes.push_back({a->first, a->second, b->second});
    }
    if (!only_after) ++a;
    if (!only_before) ++b;
  }
  return changes;
}

// Two of one name (a library for two architectures, a jar in two folders) are told together.
void add(Things& things, const std::string& name, const std::string& value) {
  std::string& there = things[name];
  if (there.empty())
    there = value;
  else if (there != value)
    there += ", " + value;
}

Things packages_of(const bake::Bill& bill) {
  Things things;
  for (const auto& package : bill.packages) add(things, package.name + ":" + package.architecture, package.version);
  return things;
}

Things python_of(const bake::Bill& bill) {
  Things things;
  for (const auto& package : bill.python) add(things, package.name, package.version);
  return things;
}

Things jars_of(const bake::Bill& bill) {
  Things things;
  for (const auto& jar : bill.jars) {
    if (!jar.artifact.empty()) add(things, jar.group + ":" + jar.artifact, jar.version);
  }
  return things;
}

Things modules_of(const bake::Bill& bill) {
  Things things;
  for (const auto& module : bill.modules) {
    things[module.name] = "there";
    for (const auto& [name, value] : module.params) things[module.name + ": " + name] = value.empty() ? "(empty)" : value;
    for (const auto& [file, digest] : module.files) things[module.name + ": " + file] = digest;
  }
  return things;
}

// A module's parameters and files say nothing new where the module itself came or went.
std::vector<Change> without_parts_of_whole_ones(const std::vector<Change>& changes) {
  std::set<std::string> whole;
  for (const auto& change : changes) {
    if (change.name.find(": ") == std::string::npos) whole.insert(change.name);
  }
  std::vector<Change> rest;
  for (const auto& change : changes) {
    const std::size_t colon = change.name.find(": ");
    if (colon == std::string::npos || whole.count(change.name.substr(0, colon)) == 0) rest.push_back(change);
  }
  return rest;
}

Things sources_of(const bake::Bill& bill) {
  Things things;
  for (const auto& module : bill.modules) {
    for (const auto& source : module.sources) things[module.name + "/" + source.name] = source.record.digest;
  }
  return things;
}

Things privileged_of(const bake::Bill& bill) {
  Things things;
  for (const auto& file : bill.privileged) things["/" + file.path] = fmt::format("{:o} {}:{}", file.mode, file.uid, file.gid);
  return things;
}

std::string type_words(char type) { return type == 'd' ? "folder" : type == 'l' ? "link" : type == 'f' ? "file" : "other"; }

struct Tree {
  const bake::Store& store;
  const std::vector<bake::Layer>& layers;
  std::map<std::string, bake::MergedFile> files;
  Tree(const bake::Store& in, const bake::Image& image) : store(in), layers(image.layers) {
    std::vector<std::string> keys;
    for (const auto& layer : layers) keys.push_back(layer.key);
    files = bake::merged_files(store, layers, bake::layer_bills(store, keys, image.architecture));
  }
  const std::string& key(const bake::MergedFile& file) const { return layers[file.layer].key; }
};

std::vector<Change> compare_files(const Tree& before, const Tree& after) {
  std::map<std::string, Change> changes;
  std::vector<std::string> unsure;
  std::vector<std::pair<std::filesystem::path, std::filesystem::path>> pairs;
  for (const auto& [path, old_file] : before.files) {
    const auto found = after.files.find(path);
    if (found == after.files.end()) {
      changes[path] = {"/" + path, type_words(old_file.type), ""};
      continue;
    }
    const auto& new_file = found->second;
    if (before.key(old_file) == after.key(new_file)) continue;
    // The second name of a file with several is listed with no size.
    const bool size_tells = old_file.size_bytes > 0 && new_file.size_bytes > 0 && old_file.size_bytes != new_file.size_bytes;
    if (old_file.type != new_file.type || (old_file.type == 'f' && size_tells)) {
      changes[path] = {"/" + path, type_words(old_file.type), type_words(new_file.type)};
    } else if (old_file.type != 'd') {
      unsure.push_back(path);
      pairs.emplace_back(before.store.layer_folder(before.key(old_file)) / old_file.path,
                         after.store.layer_folder(after.key(new_file)) / new_file.path);
    }
  }
  for (const auto& [path, file] : after.files) {
    if (before.files.count(path) == 0) changes[path] = {"/" + path, "", type_words(file.type)};
  }
  const auto same = bake::same_files(pairs);
  for (std::size_t i = 0; i < unsure.size(); ++i) {
    const std::string type = type_words(before.files.at(unsure[i]).type);
    if (!same[i]) changes[unsure[i]] = {"/" + unsure[i], type, type};
  }
  std::vector<Change> list;
  for (auto& [path, change] : changes) list.push_back(std::move(change));
  return list;
}

}  // namespace

bool ImageDiff::empty() const {
  return packages.empty() && python.empty() && jars.empty() && modules.empty() && sources.empty() && privileged.empty() && files.empty();
}

ImageDiff diff_bills(const bake::Bill& before, const bake::Bill& after) {
  return {compare(packages_of(before), packages_of(after)),
          compare(python_of(before), python_of(after)),
          compare(jars_of(before), jars_of(after)),
          without_parts_of_whole_ones(compare(modules_of(before), modules_of(after))),
          compare(sources_of(before), sources_of(after)),
          compare(privileged_of(before), privileged_of(after)),
          {}};
}

ImageDiff diff_images(const bake::Store& store, const bake::Image& before, const bake::Image& after) {
  if (before.digest == after.digest) return {};
  ImageDiff diff = diff_bills(bake::bill_of(store, before), bake::bill_of(store, after));
  diff.files = compare_files(Tree(store, before), Tree(store, after));
  return diff;
}

}  // namespace kiln::image
