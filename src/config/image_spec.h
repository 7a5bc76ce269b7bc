// The image spec: the YAML template from which every target of one image is made.
//
//   name: spark
//   summary: Apache Spark on Debian 13
//   extends: base.yaml            # another spec, relative to this one: its base, modules and packages, ours on top
//   base: {debian: trixie}        # or {ubuntu: noble}, {tarball: path, sha256: …}; mirror: URL
//   packages: [less, vim-tiny]    # beyond what the modules name
//   modules:                      # in any order; required ones are added
//     - java
//     - spark: {version: 4.1.1}
//   warm: true                    # run the modules' warm.sh
//   targets: [rootfs]
//   epoch: 1767225600             # SOURCE_DATE_EPOCH; default: fixed in kiln
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "config/module.h"

namespace kiln::config {

struct BaseSpec {
  enum class Kind { kDebian, kUbuntu, kTarball };
  Kind kind = Kind::kDebian;
  std::string suite;    // trixie, bookworm, noble …
  std::string mirror;   // empty: the tool's default
  std::string tarball;  // absolute path
  std::string sha256;
};

struct ModuleChoice {
  std::string name;
  Values params;  // given by the spec; the manifest's defaults fill the rest
};

struct ImageSpec {
  std::string name;
  std::string summary;
  std::filesystem::path file;  // absolute
  BaseSpec base;
  std::string architecture;    // amd64, arm64; default: this machine's
  std::vector<std::string> packages;
  std::vector<ModuleChoice> modules;
  bool warm = true;
  std::vector<std::string> targets;
  std::int64_t epoch = 1767225600;  // 2026-01-01T00:00:00Z
};

ImageSpec load_image_spec(const std::filesystem::path& file);
ImageSpec parse_image_spec(const std::string& file, const std::string& text);
Json image_spec_to_json(const ImageSpec& spec);

// What a distribution's suite brings by itself, for {java_version} and {python_version}: its newest Java with long-term support
// that Spark runs on, and its python3. Throws UsageError for a suite that kiln does not know, with those it does.
struct SuiteFacts {
  std::string java_version;
  std::string python_version;
};
SuiteFacts suite_facts(const BaseSpec& base);

// Folders in which modules and specs are looked for, in order: --modules, $KILN_MODULES (':'-separated), the source tree or
// PREFIX/share/kiln that the running program belongs to.
struct SearchPath {
  std::vector<std::filesystem::path> folders;
  static SearchPath for_modules(const std::vector<std::filesystem::path>& extra = {});
  static SearchPath for_images();
};
// The module's folder; UsageError with the nearest name when there is none.
std::filesystem::path find_module(const SearchPath& path, const std::string& name);
std::vector<std::filesystem::path> list_modules(const SearchPath& path);
// "spark" or "images/spark.yaml" or a path → the spec's file.
std::filesystem::path find_image_spec(const std::string& name_or_path);

}  // namespace kiln::config
