// The store: where layers, fetched sources and finished images live.
//
//   HOME/                           /var/lib/kiln for root, ~/.local/share/kiln else, or $KILN_HOME
//     layers/KEY/fs/                a layer's files, ready for overlayfs (owned by the user's subordinate ids when rootless)
//     layers/KEY/layer.json         {key, name, module, size_bytes, files, seconds, created, inputs: {…} for --explain}
//     layers/KEY/files              the paths in fs/, one line each (layer_files.h): what conflicts are looked for in
//     layers/KEY/archive.json       what the mirrors' lists said of its packages (archive_facts.h), where it installed some
//     layers/KEY/bill.json          what is in it by name and version (bill.h), once somebody has asked
//     logs/KEY.log                  what the scripts that made the layer said
//     sources/sha256/DIGEST         a fetched file; sources/tree/DIGEST/ a folder of files; sources/index/KEY.json what a location gave
//     sources/partial/              downloads that were cut, to be resumed
//     images/NAME.json              a finished image (struct Image)
//     oci/blobs/, oci/layers/       layers as container engines want them (image/oci_layer.h)
//     disks/KEY/                    bootable disks (image/disk.h); disk.json {image, disk, layers}: the image's digest and wishes it is of
//     aws/builds/, aws/blocks/      uploads of AMIs that are under way, and what snapshots hold (image/ami_upload.h, ami_blocks.h)
//     cache/                        distribution packages; only speed depends on it
//     tmp/XXXX/                     what is being made; an exclusive flock on tmp/XXXX.lock says by whom; gc removes what nobody locks
//     locks/KEY                     one maker at a time for each key; locks/gc: shared by bakes, exclusive for gc
//     clusters/                     the local provider's
//
// What is made is made in tmp/ and renamed into place under its lock: at any point a crash leaves the old or the new state.
// Rejected: a database (two things to keep in step), reference counts (wrong after the first crash).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "config/module.h"

namespace kiln::bake {

struct Layer {
  std::string key;     // 64 hex digits
  std::string name;    // "base", "packages", "module spark", "warm", "agent"
  std::string module;  // or empty
  std::int64_t size_bytes = 0;
  std::int64_t files = 0;
  double seconds = 0;  // what making it took
  std::int64_t created = 0;
  Json inputs;  // what the key is a digest of, by name: for --explain
  Json to_json() const;
  static Layer from_json(const Json& json);
};

struct ImageModule {
  config::Module manifest;
  config::Values params;  // as baked
};

struct Image {
  std::string name;
  std::string digest;  // of the layers' keys, in order
  std::string architecture;
  std::string suite;
  std::string summary;
  std::int64_t created = 0;
  std::string spec_file;
  Json spec;
  std::vector<Layer> layers;         // lowest first
  std::vector<ImageModule> modules;  // in their order
  std::vector<std::string> beside;   // the names of the images of the same spec for other architectures, known to the first of them
  Json to_json() const;
  static Image from_json(const Json& json);
};

std::filesystem::path default_home();

// A folder tmp/XXXX of the store in which something is made. Removed at the end of its scope unless released.
class WorkFolder {
 public:
  WorkFolder(std::filesystem::path path, FileLock lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  WorkFolder(WorkFolder&& other) noexcept : path_(std::move(other.path_)), lock_(std::move(other.lock_)) { other.path_.clear(); }
  WorkFolder& operator=(WorkFolder&&) = delete;
  ~WorkFolder();
  const std::filesystem::path& path() const { return path_; }
  // Control group of the containers that work in it, below each controller; removed with it.
  static constexpr const char* kControlGroups = "kiln-bake";
  // It stays where it is, for somebody to look at; the next `kiln gc` removes it.
  void keep();

 private:
  std::filesystem::path path_;
  FileLock lock_;
};

class Store {
 public:
  explicit Store(std::filesystem::path home = default_home());
  const std::filesystem::path& home() const { return home_; }

  std::optional<Layer> find_layer(const std::string& key) const;
  std::filesystem::path layer_folder(const std::string& key) const;  // …/layers/KEY/fs
  std::filesystem::path log_file(const std::string& key) const;      // …/logs/KEY.log
  // The layer whose files are in WORK/fs (with the list WORK/files) becomes part of the store, in one step.
  void add_layer(const Layer& layer, const WorkFolder& work);

  std::vector<Image> images() const;
  std::optional<Image> find_image(const std::string& name) const;
  void save_image(const Image& image);
  // Error when clusters use it (their names in `used_by`), unless `force`; absent: UsageError with the nearest name.
  // Its layers go with the next collect_garbage().
  void remove_image(const std::string& name, const std::vector<std::string>& used_by = {}, bool force = false);

  // What no image and no cluster refers to: layers, sources not used by any image, interrupted work. Removes it unless `dry_run`.
  // `extra_roots`: keys of layers that clusters stand on. Error when a bake is running.
  struct Garbage {
    std::string what;
    std::int64_t size_bytes = 0;
  };
  // Only what crashes and kills left in tmp/ (for `kiln gc`); never waits for a running bake.
  std::vector<Garbage> collect_interrupted(bool dry_run);
  std::vector<Garbage> collect_garbage(bool dry_run, const std::vector<std::string>& extra_roots);

  // Held by whoever adds to the store or builds on what is in it, so that gc does not take it away meanwhile.
  FileLock in_use() const;
  // One maker for each key. Says "waiting for another kiln that makes WHAT" when it has to wait.
  FileLock lock(const std::string& key, const std::string& what) const;
  WorkFolder make_work_folder() const;
  // Makes the store's folder `name` (with parents), and gives its path.
  std::filesystem::path folder(std::string_view name) const;

 private:
  std::filesystem::path home_;
};

// Control groups that containers of work folders left: that of `name`, or all that have no process. Root's only; absent is fine.
// False when one is there still.
bool remove_control_groups(const std::string& name = {});

}  // namespace kiln::bake
