#include "bake/store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/activity.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "config/names.h"
#include "container/cell.h"

namespace kiln::bake {

namespace {

// A member of a record that kiln itself wrote: when it is not there, the file was damaged, and the message says which member.
template <class T>
T member(const Json& json, const char* name) {
  const auto it = json.find(name);
  if (it == json.end()) fail("member '{}' is missing", name);
  try {
    return it->get<T>();
  } catch (const Json::exception&) {
    fail("member '{}' has the wrong type ({})", name, it->type_name());
  }
}

Json parse_record(const fs::path& file, const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object()) fail("'{}' is damaged: it is no JSON object", file.native());
  return json;
}

}  // namespace

Json Layer::to_json() const {
  return {{"key", key},     {"name", name},       {"module", module},   {"size_bytes", size_bytes},
          {"files", files}, {"seconds", seconds}, {"created", created}, {"inputs", inputs}};
}

Layer Layer::from_json(const Json& json) {
  return {member<std::string>(json, "key"),         member<std::string>(json, "name"),   member<std::string>(json, "module"),
          member<std::int64_t>(json, "size_bytes"), member<std::int64_t>(json, "files"), member<double>(json, "seconds"),
          member<std::int64_t>(json, "created"),    member<Json>(json, "inputs")};
}

Json Image::to_json() const {
  Json layer_list = Json::array(), module_list = Json::array();
  for (const auto& layer : layers) layer_list.push_back(layer.to_json());
  for (const auto& module : modules)
    module_list.push_back({{"manifest", config::module_to_json(module.manifest)}, {"params", module.params}});
  Json json = {{"kiln", 1},      {"name", name},         {"digest", digest},      {"architecture", architecture},
               {"suite", suite}, {"summary", summary},   {"created", created},    {"spec_file", spec_file},
               {"spec", spec},   {"layers", layer_list}, {"modules", module_list}};
  if (!beside.empty()) json["beside"] = beside;
  return json;
}

Image Image::from_json(const Json& json) {
  Image image;
  image.name = member<std::string>(json, "name");
  image.digest = member<std::string>(json, "digest");
  image.architecture = member<std::string>(json, "architecture");
  image.suite = member<std::string>(json, "suite");
  image.summary = member<std::string>(json, "summary");
  image.created = member<std::int64_t>(json, "created");
  image.spec_file = member<std::string>(json, "spec_file");
  image.spec = member<Json>(json, "spec");
  for (const auto& layer : member<Json>(json, "layers")) image.layers.push_back(Layer::from_json(layer));
  for (const auto& module : member<Json>(json, "modules")) {
    image.modules.push_back({config::module_from_json(member<Json>(module, "manifest")), member<config::Values>(module, "params")});
  }
  if (json.contains("beside")) image.beside = member<std::vector<std::string>>(json, "beside");
  return image;
}

fs::path default_home() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (const auto home = variable("KILN_HOME"); !home.empty()) return fs::absolute(home).lexically_normal();
  if (::geteuid() == 0) return "/var/lib/kiln";
  if (const auto data = variable("XDG_DATA_HOME"); !data.empty()) return fs::path(data) / "kiln";
  if (const auto home = variable("HOME"); !home.empty()) return fs::path(home) / ".local/share/kiln";
  throw UsageError("cannot tell where the store is: neither KILN_HOME nor HOME is set");
}

// Its lock goes last: as long as the folder is there, nobody else takes it for a dead one's.
WorkFolder::~WorkFolder() {
  if (path_.empty()) return;
  try {
    container::remove_tree_in_cell(path_);
  } catch (const Error&) {
    return;  // `kiln gc` finds what is left
  }
  remove_control_groups(path_.filename());
  ::unlink((path_.native() + ".lock").c_str());
}

// The kernel refuses those with a process in them, and so nobody else's are taken away.
bool remove_control_groups(const std::string& name) {
  std::vector<fs::path> tops = {fs::path("/sys/fs/cgroup") /
                                WorkFolder::kControlGroups};  // the unified hierarchy; else one for each controller
  for (const auto& controller : list_folder("/sys/fs/cgroup")) tops.push_back(controller / WorkFolder::kControlGroups);
  bool all_gone = true;
  std::error_code error;
  const auto remove = [&](const fs::path& group) {
    all_gone = (::rmdir(group.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) && all_gone;
  };
  for (const auto& top : tops) {
    if (!name.empty()) {
      remove(top / name);
      continue;
    }
    for (const auto& group : list_folder(top)) {
      if (fs::is_directory(group, error)) remove(group);
    }
    remove(top);
  }
  return all_gone;
}

void WorkFolder::keep() { path_.clear(); }

Store::Store(fs::path home) : home_(std::move(home)) {}

fs::path Store::folder(std::string_view name) const {
  const fs::path path = home_ / name;
  make_folder(path);
  return path;
}

fs::path Store::layer_folder(const std::string& key) const { return home_ / "layers" / key / "fs"; }
fs::path Store::log_file(const std::string& key) const { return home_ / "logs" / (key + ".log"); }

std::optional<Layer> Store::find_layer(const std::string& key) const {
  const fs::path file = home_ / "layers" / key / "layer.json";
  const auto text = read_file_if_there(file);
  if (!text) return std::nullopt;
  return with_context("reading '" + file.native() + "'", [&] { return Layer::from_json(parse_record(file, *text)); });
}

void Store::add_layer(const Layer& layer, const WorkFolder& work) {
  // A folder of its own inside the work folder is what moves, so that the work folder's other contents (overlay's, the bundle) stay behind.
  const fs::path made = work.path() / "layer", target = folder("layers") / layer.key;
  make_folder(made);
  for (const char* part : {"fs", "files", "archive.json"}) {
    if (part == std::string_view("archive.json") && !fs::exists(work.path() / part)) continue;
    if (::rename((work.path() / part).c_str(), (made / part).c_str()) != 0) {
      fail("cannot move '{}' into the layer: {}", (work.path() / part).native(), errno_text(errno));
    }
  }
  write_file_atomically(made / "layer.json", layer.to_json().dump(1) + "\n");
  // Without its record it is what a killed gc left.
  if (fs::exists(target) && !fs::exists(target / "layer.json")) container::remove_tree_in_cell(target);
  if (::rename(made.c_str(), target.c_str()) != 0) fail("cannot put the layer at '{}': {}", target.native(), errno_text(errno));
}

std::vector<Image> Store::images() const {
  std::vector<Image> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(home_ / "images", error)) {
    if (entry.path().extension() != ".json") continue;  // an atomic write that was cut
    if (auto image = find_image(entry.path().stem())) found.push_back(std::move(*image));
  }
  std::sort(found.begin(), found.end(), [](const Image& a, const Image& b) { return a.name < b.name; });
  return found;
}

std::optional<Image> Store::find_image(const std::string& name) const {
  const fs::path file = home_ / "images" / (name + ".json");
  const auto text = read_file_if_there(file);
  if (!text) return std::nullopt;
  return with_context("reading the image's record '" + file.native() + "'", [&] { return Image::from_json(parse_record(file, *text)); });
}

void Store::save_image(const Image& image) {
  config::check_image_name(image.name);
  write_file_atomically(folder("images") / (image.name + ".json"), image.to_json().dump(1) + "\n");
}

void Store::remove_image(const std::string& name, const std::vector<std::string>& used_by, bool force) {
  const fs::path file = home_ / "images" / (name + ".json");
  if (!fs::exists(file)) {
    std::vector<std::string> names;
    for (const auto& image : images()) names.push_back(image.name);
    UsageError error(fmt::format("there is no image '{}'", name));
    if (const auto near = nearest(name, names)) error.set_hint("did you mean '" + *near + "'?");
    throw error;
  }
  if (!used_by.empty() && !force) {
    Error error(fmt::format("cannot remove the image '{}': {} {} it", name, used_by.size() == 1 ? "the cluster" : "the clusters",
                            join(used_by, ", ") + (used_by.size() == 1 ? " uses" : " use")));
    error.set_hint("kiln destroy " + used_by.front() + ", then try again");
    throw error;
  }
  if (::unlink(file.c_str()) != 0) fail("cannot remove '{}': {}", file.native(), errno_text(errno));
}

FileLock Store::in_use() const { return FileLock::wait(folder("locks") / "gc", FileLock::Mode::kShared); }

FileLock Store::lock(const std::string& key, const std::string& what) const {
  const fs::path file = folder("locks") / key;
  if (auto lock = FileLock::try_now(file)) return std::move(*lock);
  say("waiting for another kiln that makes " + what);
  return FileLock::wait(file);
}

WorkFolder Store::make_work_folder() const {
  const fs::path path = folder("tmp") / random_hex(8);
  auto lock = FileLock::try_now(path.native() + ".lock");
  if (!lock) fail("cannot lock the new folder '{}'", path.native());
  make_folder(path);
  return {path, std::move(*lock)};
}

}  // namespace kiln::bake
