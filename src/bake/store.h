// The store: where layers, fetched sources and finished images live.
//
//   HOME/                           /var/lib/kiln for root, ~/.local/share/kiln else, or $KILN_HOME
//     layers/KEY/fs/                a layer's files, ready for overlayfs (owned by the user's subordinate ids when rootless)
//     layers/KEY/layer.json         {key, name, module, size_bytes, files, seconds, created, inputs: {…} for --explain}
//     sources/sha256/DIGEST         a fetched file; sources/tree/KEY/ a folder of files; sources/index/KEY.json what a location gave
//     images/NAME.json              a finished image (struct Image)
//     tmp/XXXX/                     what is being made; an exclusive flock on tmp/XXXX.lock says by whom; gc removes what nobody locks
//     locks/KEY                     one maker at a time for each key
//     clusters/                     the local provider's
//
// What is made is made in tmp/ and renamed into place under its lock: at any point a crash leaves the old or the new state.
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
  Json inputs;         // what the key is a digest of, by name: for --explain
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
  std::vector<Layer> layers;  // lowest first
  std::vector<ImageModule> modules;
  Json to_json() const;
  static Image from_json(const Json& json);
};

std::filesystem::path default_home();

class Store {
 public:
  explicit Store(std::filesystem::path home = default_home());
  const std::filesystem::path& home() const { return home_; }

  std::optional<Layer> find_layer(const std::string& key) const;
  std::filesystem::path layer_folder(const std::string& key) const;  // …/layers/KEY/fs

  std::vector<Image> images() const;
  std::optional<Image> find_image(const std::string& name) const;
  void save_image(const Image& image);
  // Error when a cluster uses it (unless `force`); absent: Error with the nearest name.
  void remove_image(const std::string& name);

  // What no image and no cluster refers to: layers, sources not used by any image, interrupted work. Removes it unless `dry_run`.
  struct Garbage {
    std::string what;
    std::int64_t size_bytes = 0;
  };
  std::vector<Garbage> collect_garbage(bool dry_run, const std::vector<std::string>& extra_roots);

 private:
  std::filesystem::path home_;
};

}  // namespace kiln::bake
