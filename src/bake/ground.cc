#include "bake/ground.h"

#include <filesystem>

#include "bake/accounts.h"
#include "bake/layer_files.h"
#include "base/files.h"

namespace kiln::bake {

namespace {

std::string account_text(const Store& store, const GroundLayer& layer, const char* path) {
  const auto file = place_in(store.layer_folder(layer.key), path);
  if (!file || !fs::is_regular_file(fs::symlink_status(*file))) return {};
  return read_file(*file);
}

bool need_one_number(const Store& store, const GroundLayer& packages, const std::vector<GroundLayer>& between, const char* path) {
  const std::string added = account_text(store, packages, path);
  if (added.empty()) return false;
  for (const auto& layer : between) {
    if (accounts_clash(added, account_text(store, layer, path))) return true;
  }
  return false;
}

}  // namespace

bool are_in_the_way(const Store& store, const GroundLayer& packages, const std::vector<GroundLayer>& between) {
  std::vector<ModuleFiles> lists;
  const auto add = [&](const GroundLayer& layer) {
    const fs::path folder = store.layer_folder(layer.key);
    lists.push_back({layer.name, {}, folder, read_list(read_file(folder.parent_path() / "files"))});
  };
  for (const auto& layer : between) add(layer);
  // Among each other they have found their places already.
  for (auto& list : lists) {
    for (const auto& other : between) list.requires_modules.push_back(other.name);
  }
  add(packages);
  if (!possible_conflicts(lists).empty()) return true;
  return need_one_number(store, packages, between, "etc/passwd") || need_one_number(store, packages, between, "etc/group");
}

}  // namespace kiln::bake
