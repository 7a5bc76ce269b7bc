#include "bake/archive_facts.h"

#include <algorithm>
#include <fstream>
#include <set>

#include "base/hash.h"
#include "base/strings.h"

namespace kiln::bake {

namespace {

std::string value_of(const std::string& line, std::string_view field) {
  return line.starts_with(field) ? std::string(trim(std::string_view(line).substr(field.size()))) : std::string();
}

// Line by line: Debian's list has 50 MB.
void read_packages_file(const fs::path& file, const std::set<std::string>& wanted, Json& digests) {
  std::ifstream stream(file, std::ios::binary);
  std::string line, name, version, architecture, sha256;
  const auto end_of_stanza = [&] {
    const std::string key = name + " " + version + " " + architecture;
    if (!sha256.empty() && wanted.count(key) != 0) digests[key] = sha256;
    name.clear();
    version.clear();
    architecture.clear();
    sha256.clear();
  };
  while (std::getline(stream, line)) {
    if (line.empty()) {
      end_of_stanza();
      continue;
    }
    for (const auto& [field, value] : {std::pair<const char*, std::string*>{"Package: ", &name},
                                       {"Version: ", &version},
                                       {"Architecture: ", &architecture},
                                       {"SHA256: ", &sha256}}) {
      if (line[0] == field[0] && line.starts_with(field)) *value = value_of(line, field);
    }
  }
  end_of_stanza();
}

std::string date_of(const fs::path& release) {
  std::ifstream stream(release, std::ios::binary);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("Date: ")) return value_of(line, "Date: ");
  }
  return {};
}

}  // namespace

Json archive_facts(const fs::path& lists, const std::vector<DistributionPackage>& installed) {
  std::set<std::string> wanted;
  for (const auto& package : installed) wanted.insert(package.name + " " + package.version + " " + package.architecture);
  Json releases = Json::array(), digests = Json::object();
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(lists)) {
    if (entry.is_regular_file() && !entry.is_symlink()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    const std::string name = file.filename();
    if (name.ends_with("_Packages") || name == "Packages") read_packages_file(file, wanted, digests);
    if (name.ends_with("Release") && !name.ends_with(".gpg"))
      releases.push_back({{"file", name}, {"date", date_of(file)}, {"sha256", sha256_hex_of_file(file)}});
  }
  return {{"releases", releases}, {"packages", digests}};
}

void write_archive_facts(const fs::path& work) {
  const fs::path status = work / "fs/var/lib/dpkg/status";
  if (!fs::is_directory(work / "lists") || !fs::is_regular_file(fs::symlink_status(status))) return;
  write_file_atomically(work / kArchiveFile, archive_facts(work / "lists", parse_dpkg_status(read_file(status))).dump(1) + "\n");
}

Json archive_facts_in(const fs::path& folder) {
  const auto text = read_file_if_there(folder / kArchiveFile);
  Json json = text ? Json::parse(*text, nullptr, false) : Json::object();
  return json.is_object() ? json : Json::object();
}

Json stored_archive_facts(const Store& store, const std::string& key) { return archive_facts_in(store.layer_folder(key).parent_path()); }

std::map<std::string, std::string> package_digests(const Json& archive) {
  std::map<std::string, std::string> digests;
  const Json packages = archive.value("packages", Json::object());
  for (const auto& [package, digest] : packages.items()) {
    if (digest.is_string()) digests[package] = digest.get<std::string>();
  }
  return digests;
}

}  // namespace kiln::bake
