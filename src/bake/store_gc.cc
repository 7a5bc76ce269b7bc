// Garbage in the store: what is there minus what images and clusters stand on. Nothing is counted while baking; a crash can therefore
// leave too much, never too little.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>

#include "bake/store.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/strings.h"
#include "container/cell.h"

namespace kiln::bake {

namespace {

// What cannot be read (files of subordinate ids) counts as nothing: this is for people.
std::int64_t size_of_tree(const fs::path& path) {
  std::int64_t size_bytes = 0;
  const auto add = [&](const fs::path& file) {
    struct stat status;
    if (::lstat(file.c_str(), &status) == 0) size_bytes += static_cast<std::int64_t>(status.st_blocks) * 512;
  };
  add(path);
  std::error_code error;
  for (auto it = fs::recursive_directory_iterator(path, fs::directory_options::skip_permission_denied, error);
       it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (error) break;
    add(it->path());
  }
  return size_bytes;
}

constexpr std::chrono::milliseconds kPoll{20};

// A bake that was just killed is gone a moment later: its children hold its locks until they are other programs, and write until the
// kernel has ended their namespace. Both take milliseconds; two seconds are for a machine that is very busy.
template <class Try>
bool try_for_two_seconds(Try attempt) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  while (!attempt()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    throw_if_interrupted();
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

struct Roots {
  std::set<std::string> layers;
  std::set<std::string> sources;  // digests
  std::set<std::string> records;  // keys in sources/index
  std::set<std::string> disks;
};

void add_layer_roots(Roots& roots, const Layer& layer) {
  roots.layers.insert(layer.key);
  if (!layer.inputs.is_object()) return;
  if (const auto sources = layer.inputs.find("sources"); sources != layer.inputs.end() && sources->is_object()) {
    for (const auto& [name, digest] : sources->items()) {
      if (digest.is_string()) roots.sources.insert(digest.get<std::string>());
    }
  }
}

// A disk goes with the image it was made of, and holds the layers that made a machine of that.
void add_disk_roots(Roots& roots, const Store& store, const std::vector<Image>& images) {
  for (const auto& path : list_folder(store.home() / "disks")) {
    const Json record = Json::parse(read_file_if_there(path / "disk.json").value_or(""), nullptr, false);
    const auto is_of = [&](const Image& image) {
      return record.value("image", "") == image.digest && record.value("disk", Json()) == image.spec.value("disk", Json());
    };
    if (!record.is_object() || std::none_of(images.begin(), images.end(), is_of)) continue;
    roots.disks.insert(path.filename());
    for (const auto& key : record.value("layers", std::vector<std::string>())) {
      if (const auto layer = store.find_layer(key)) add_layer_roots(roots, *layer);
    }
  }
}

Roots find_roots(const Store& store, const std::vector<std::string>& extra_layers) {
  Roots roots;
  const auto images = store.images();
  for (const auto& image : images) {
    for (const auto& layer : image.layers) add_layer_roots(roots, layer);
  }
  add_disk_roots(roots, store, images);
  for (const auto& key : extra_layers) {
    roots.layers.insert(key);
    if (const auto layer = store.find_layer(key)) add_layer_roots(roots, *layer);
  }
  return roots;
}

// What a killed bake left in tmp/. Work that somebody still holds the lock of is not interrupted: launch makes things here too.
struct InterruptedWork {
  std::vector<Store::Garbage> garbage;
  std::vector<fs::path> paths;
};

// `patient`: when no bake can be running, a lock that is held is a launch's, or that of a bake which was just killed.
InterruptedWork find_interrupted(const fs::path& home, bool patient) {
  InterruptedWork found;
  const auto is_free = [&](const fs::path& lock) {
    const auto attempt = [&] { return FileLock::try_now(lock).has_value(); };
    return patient ? try_for_two_seconds(attempt) : attempt();
  };
  for (const auto& path : list_folder(home / "tmp")) {
    if (path.extension() == ".lock") {
      if (!fs::exists(fs::path(path).replace_extension()) && is_free(path)) found.paths.push_back(path);
    } else if (is_free(path.native() + ".lock")) {
      found.garbage.push_back({"interrupted work " + path.filename().native(), size_of_tree(path)});
      found.paths.push_back(path);
      found.paths.push_back(path.native() + ".lock");
    }
  }
  return found;
}

void remove_patiently(const fs::path& path) {
  const bool removed = try_for_two_seconds([&] {
    try {
      container::remove_tree_in_cell(path);
      return true;
    } catch (const Interrupted&) {
      throw;
    } catch (const Error&) {
      return false;
    }
  });
  if (!removed) container::remove_tree_in_cell(path);  // says why
}

}  // namespace

std::vector<Store::Garbage> Store::collect_interrupted(bool dry_run) {
  const InterruptedWork found = find_interrupted(home_, false);
  if (!dry_run) {
    for (const auto& path : found.paths) {
      // The lock's file comes last and tells that there is something to remove: a gc that is cut short is made good by the next.
      if (path.extension() == ".lock") try_for_two_seconds([&] { return remove_control_groups(path.stem()); });
      remove_patiently(path);
    }
  }
  return found.garbage;
}

std::vector<Store::Garbage> Store::collect_garbage(bool dry_run, const std::vector<std::string>& extra_roots) {
  if (!fs::exists(home_)) return {};
  std::optional<FileLock> alone;
  if (!try_for_two_seconds([&] { return (alone = FileLock::try_now(folder("locks") / "gc")).has_value(); })) {
    Error error("cannot collect garbage: a bake is running on this store");
    error.set_hint("try again when it has ended");
    throw error;
  }
  Roots roots = find_roots(*this, extra_roots);

  std::vector<Garbage> garbage;
  std::vector<fs::path> doomed;
  const auto condemn = [&](const std::string& what, const fs::path& path) {
    garbage.push_back({what, size_of_tree(path)});
    doomed.push_back(path);
  };

  for (const auto& path : list_folder(home_ / "layers")) {
    if (roots.layers.count(path.filename()) != 0) continue;
    std::string name = path.filename().native().substr(0, 12);
    try {
      if (const auto layer = find_layer(path.filename())) name = layer->name + " (" + name + ")";
    } catch (const Error&) {
      // A damaged record is garbage as well.
    }
    condemn("layer " + name, path);
  }
  for (const auto& path : list_folder(home_ / "logs")) {
    if (roots.layers.count(path.stem()) == 0) condemn("log " + path.filename().native(), path);
  }
  // A record tells which digest a location gave; it is needed as long as that digest is.
  for (const auto& path : list_folder(home_ / "sources/index")) {
    const Json record = Json::parse(read_file(path), nullptr, false);
    const std::string digest = record.is_object() ? record.value("digest", "") : "";
    if (roots.sources.count(digest) == 0) condemn("record of a source " + path.filename().native(), path);
    if (record.is_object() && roots.sources.count(digest) != 0) {
      for (const auto& file : record.value("files", Json::array())) roots.sources.insert(file.value("sha256", ""));
    }
  }
  for (const char* kind : {"sha256", "tree"}) {
    for (const auto& path : list_folder(home_ / "sources" / kind)) {
      if (roots.sources.count(path.filename()) == 0) condemn("source " + path.filename().native().substr(0, 12), path);
    }
  }
  // A layer's blobs for container engines go with the layer. Configs and manifests have no record: they are made again in no time.
  std::set<std::string> blobs;
  for (const auto& path : list_folder(home_ / "oci/layers")) {
    if (roots.layers.count(path.filename().native().substr(0, path.filename().native().find('-'))) == 0) {
      condemn("record of an OCI layer " + path.filename().native().substr(0, 12), path);
      continue;
    }
    const Json record = Json::parse(read_file(path), nullptr, false);
    const std::string digest = record.is_object() ? record.value("digest", "") : "";
    blobs.insert(digest.substr(digest.find(':') + 1));
  }
  for (const auto& path : list_folder(home_ / "oci/blobs/sha256")) {
    if (blobs.count(path.filename()) == 0) condemn("OCI blob " + path.filename().native().substr(0, 12), path);
  }
  for (const auto& path : list_folder(home_ / "disks")) {
    if (roots.disks.count(path.filename()) == 0) condemn("disk " + path.filename().native().substr(0, 12), path);
  }
  for (const auto& path : list_folder(home_ / "sources/partial")) condemn("interrupted download " + path.filename().native(), path);
  for (const auto& path : list_folder(home_ / "cache")) condemn("cache of " + path.filename().native(), path);
  for (const auto& path : list_folder(home_ / "images")) {
    if (path.extension() != ".json") condemn("interrupted write " + path.filename().native(), path);
  }
  auto interrupted_work = find_interrupted(home_, !dry_run);
  garbage.insert(garbage.end(), interrupted_work.garbage.begin(), interrupted_work.garbage.end());
  doomed.insert(doomed.end(), interrupted_work.paths.begin(), interrupted_work.paths.end());
  if (dry_run) return garbage;

  // A layer without its record is none: it goes first, so that a crash here leaves no half layer that looks whole.
  for (const auto& path : doomed) ::unlink((path / "layer.json").c_str());
  for (const auto& path : doomed) remove_patiently(path);
  remove_control_groups();
  for (const auto& path : list_folder(home_ / "locks")) {
    if (path.filename() != "gc") ::unlink(path.c_str());
  }
  return garbage;
}

}  // namespace kiln::bake
