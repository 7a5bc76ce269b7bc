// Where modules and image specs are found.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "base/files.h"
#include "base/strings.h"
#include "config/image_spec.h"
#include "config/names.h"

namespace kiln::config {

namespace {

constexpr const char* kSpecEndings[] = {".yaml", ".yml"};

bool is_folder(const fs::path& path) {
  std::error_code code;
  return fs::is_directory(path, code);
}

bool is_file(const fs::path& path) {
  std::error_code code;
  return fs::is_regular_file(path, code);
}

// The folder `name` of what the running program belongs to: build/kiln of a source tree, or PREFIX/bin/kiln. Nothing else is tried,
// least of all the working directory: what an image is made of must not depend on where one stands.
void add_own_folder(const std::string& name, std::vector<fs::path>& folders) {
  std::error_code code;
  const fs::path program = fs::read_symlink("/proc/self/exe", code);
  if (code) return;
  const fs::path above = program.parent_path().parent_path();
  if (is_file(above / "CMakeLists.txt") && is_folder(above / name)) {
    folders.push_back(above / name);
  } else if (const fs::path shared = above / "share" / "kiln" / name; is_folder(shared)) {
    folders.push_back(shared);
  }
}

void add_from_environment(const char* variable, std::vector<fs::path>& folders) {
  const char* value = std::getenv(variable);
  if (value == nullptr) return;
  for (const auto& folder : split(value, ':')) {
    if (!folder.empty()) folders.push_back(fs::absolute(folder));
  }
}

std::string folders_words(const SearchPath& path) {
  std::vector<std::string> words;
  for (const auto& folder : path.folders) words.push_back(folder.string());
  return words.empty() ? "no folder of modules is known" : "looked in " + join(words, ", ");
}

bool has_spec_ending(const std::string& name) {
  return std::any_of(std::begin(kSpecEndings), std::end(kSpecEndings), [&](const char* ending) { return name.ends_with(ending); });
}

std::vector<std::string> spec_names(const SearchPath& path) {
  std::set<std::string> names;
  for (const auto& folder : path.folders) {
    std::error_code code;
    for (fs::directory_iterator entry(folder, code), end; !code && entry != end; entry.increment(code)) {
      if (has_spec_ending(entry->path().filename().string())) names.insert(entry->path().stem().string());
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace

SearchPath SearchPath::for_modules(const std::vector<fs::path>& extra) {
  SearchPath path;
  for (const auto& folder : extra) {
    // Named by the user just now: a slip of the pen should not silently mean another module of the same name.
    if (!is_folder(folder)) fail_usage("cannot look for modules in {}: no such folder", in_quotes(folder.string()));
    path.folders.push_back(fs::absolute(folder).lexically_normal());
  }
  add_from_environment("KILN_MODULES", path.folders);
  add_own_folder("modules", path.folders);
  return path;
}

SearchPath SearchPath::for_images() {
  SearchPath path;
  add_from_environment("KILN_IMAGES", path.folders);
  add_own_folder("images", path.folders);
  return path;
}

fs::path find_module(const SearchPath& path, const std::string& name) {
  check_module_name(name);
  for (const auto& folder : path.folders) {
    if (is_file(folder / name / "module.yaml")) return folder / name;
  }
  std::vector<std::string> known;
  for (const auto& folder : list_modules(path)) known.push_back(folder.filename().string());
  UsageError error("there is no module " + in_quotes(name));
  const std::string near = did_you_mean(name, known);
  error.set_hint(near.empty() ? folders_words(path) : near);
  throw error;
}

fs::path find_module(const SearchPath& path, const ModuleChoice& choice) {
  try {
    return find_module(path, choice.name);
  } catch (const UsageError& error) {
    choice.place.fail(error.message(), error.hint_text());
  }
}

std::vector<fs::path> list_modules(const SearchPath& path) {
  std::map<std::string, fs::path> found;
  for (const auto& folder : path.folders) {
    std::error_code code;
    for (fs::directory_iterator entry(folder, code), end; !code && entry != end; entry.increment(code)) {
      if (is_file(entry->path() / "module.yaml")) found.emplace(entry->path().filename().string(), entry->path());
    }
  }
  std::vector<fs::path> modules;
  for (const auto& [name, folder] : found) modules.push_back(folder);
  return modules;
}

fs::path find_image_spec(const std::string& name_or_path) {
  if (name_or_path.find('/') != std::string::npos || has_spec_ending(name_or_path)) {
    read_config_file(name_or_path);  // the error that suggests a near name
    return fs::absolute(name_or_path).lexically_normal();
  }
  check_image_name(name_or_path);
  const SearchPath path = SearchPath::for_images();
  for (const auto& folder : path.folders) {
    for (const char* ending : kSpecEndings) {
      if (is_file(folder / (name_or_path + ending))) return folder / (name_or_path + ending);
    }
  }
  UsageError error("there is no image spec " + in_quotes(name_or_path));
  const std::string near = did_you_mean(name_or_path, spec_names(path));
  error.set_hint(near.empty() ? "name one of the image specs that come with kiln, or a file: ./" + name_or_path + ".yaml" : near);
  throw error;
}

}  // namespace kiln::config
