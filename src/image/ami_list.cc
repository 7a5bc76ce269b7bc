#include "image/ami_list.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/home.h"

namespace kiln::image {

namespace {

constexpr const char* kIndex = "index.json";

Json read_index(const fs::path& folder) {
  const auto text = read_file_if_there(folder / kIndex);
  if (!text) return Json::array();
  Json index = Json::parse(*text, nullptr, false);
  if (index.is_array() && std::all_of(index.begin(), index.end(), [](const Json& entry) { return entry.is_object(); })) return index;
  Error error(fmt::format("'{}' is no list of AMIs", (folder / kIndex).native()));
  error.set_hint("remove it, or give another folder by --ami-list");
  throw error;
}

// What two entries must not share.
std::string place_of(const Json& entry) {
  std::string place;
  for (const char* key : {"region", "architecture", "virtualization", "boot_mode"}) place += entry.value(key, "") + "/";
  return place;
}

Json entry_of(const Ami& ami) {
  return {{"image", ami.image},
          {"region", ami.region},
          {"virtualization", ami.kind.virtualization},
          {"boot_mode", ami.kind.boot_mode},
          {"architecture", ami.architecture},
          {"digest", ami.digest},
          {"id", ami.id},
          {"name", ami.name}};
}

// The names that spark-ec2's launcher reads.
std::string old_file_name(const std::string& virtualization) { return virtualization == "paravirtual" ? "pvm" : "hvm"; }

constexpr const char* kOldArchitecture = "x86_64";

// Of the architecture that those launchers do not know.
std::string own_file_name(const std::string& virtualization, const std::string& architecture) {
  return old_file_name(virtualization) + "-" + architecture;
}

bool has_old_architecture(const Json& index) {
  return std::any_of(index.begin(), index.end(), [](const Json& entry) { return entry.value("architecture", "") == kOldArchitecture; });
}

void write_if_changed(const fs::path& file, const std::string& text) {
  if (read_file_if_there(file) == text) return;
  make_folder(file.parent_path());
  write_file_atomically(file, text);
}

void write_index(const fs::path& folder, Json index) {
  std::sort(index.begin(), index.end(), [](const Json& a, const Json& b) { return place_of(a) < place_of(b); });
  write_if_changed(folder / kIndex, index.dump(1) + "\n");
}

// Beside no file of the list: in the folder for locks of whoever runs kiln.
FileLock lock_list(const fs::path& folder) {
  const fs::path locks = home_folder() / "locks";
  make_folder(locks);
  return FileLock::wait(locks / sha256_hex("ami-list " + fs::absolute(folder).lexically_normal().native()));
}

}  // namespace

void check_ami_list(const fs::path& folder, const std::string& image) {
  for (const Json& entry : read_index(folder)) {
    const std::string other = entry.value("image", "");
    if (other == image) continue;
    UsageError error(fmt::format("'{}' is the list of image '{}', not of '{}'", folder.native(), other, image));
    error.set_hint("give this image a folder of its own by --ami-list DIR");
    throw error;
  }
}

void update_ami_list(const fs::path& folder, const std::vector<AmiKind>& kinds, const std::vector<Ami>& amis, bool is_beside_amd64) {
  if (amis.empty()) return;
  const FileLock one_writer = lock_list(folder);
  Json index = read_index(folder);
  for (const auto& ami : amis) {
    const Json entry = entry_of(ami);
    std::erase_if(index.get_ref<Json::array_t&>(), [&](const Json& old) { return place_of(old) == place_of(entry); });
    index.push_back(entry);
  }
  const bool is_old_alone = is_beside_amd64 || has_old_architecture(index);
  for (const auto& ami : amis) {
    const std::string& virtualization = ami.kind.virtualization;
    const auto first = std::find_if(kinds.begin(), kinds.end(), [&](const AmiKind& kind) { return kind.virtualization == virtualization; });
    if (first != kinds.end() && *first != ami.kind) continue;
    const bool is_old = ami.architecture == kOldArchitecture;
    const fs::path region = folder / ami.region;
    if (!is_old) write_if_changed(region / own_file_name(virtualization, ami.architecture), ami.id + "\n");
    if (is_old || !is_old_alone) write_if_changed(region / old_file_name(virtualization), ami.id + "\n");
  }
  write_index(folder, index);
}

void remove_from_ami_list(const fs::path& folder, const std::vector<std::string>& ids) {
  const FileLock one_writer = lock_list(folder);
  Json index = read_index(folder);
  const auto is_gone = [&](const std::string& id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); };
  std::error_code ignored;
  for (const Json& entry : index) {
    const std::string virtualization = entry.value("virtualization", "");
    for (const auto& name : {old_file_name(virtualization), own_file_name(virtualization, entry.value("architecture", ""))}) {
      const fs::path file = folder / entry.value("region", "") / name;
      std::string listed = read_file_if_there(file).value_or("");
      if (!listed.empty() && listed.back() == '\n') listed.pop_back();
      if (!is_gone(listed)) continue;
      fs::remove(file, ignored);
      fs::remove(file.parent_path(), ignored);  // only when it is empty
    }
  }
  const auto before = index.size();
  std::erase_if(index.get_ref<Json::array_t&>(), [&](const Json& entry) { return is_gone(entry.value("id", "")); });
  if (index.size() != before) write_index(folder, index);
}

}  // namespace kiln::image
