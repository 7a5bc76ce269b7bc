// The image spec: the YAML template from which every target of one image is made.
//
//   name: spark
//   summary: Apache Spark on Debian 13
//   extends: base.yaml            # another spec, relative to this one: its base, modules and packages, ours on top
//   base: {debian: trixie}        # or {ubuntu: noble}, {tarball: path, sha256: …, suite: …}; mirror: URL; keyring: path
//                                 # or {oci: registry.example/debian:13, suite: …}, with @sha256:… for that one and no other;
//                                 # {oci: ./layout:tag}, {oci: image.tar}: a layout in a folder or a file, relative to this spec
//   architecture: amd64           # or arm64; default: this machine's; or [amd64, arm64]: an image for each, of one spec
//   packages: [less, vim-tiny]    # beyond what the modules name, by the base's own package manager;
//                                 # or {debian: [vim-tiny], rpm: [vim-minimal]}: those of what the base has
//   modules:                      # in any order; required ones are added
//     - java
//     - spark: {version: 4.1.1}
//   warm: true                    # run the modules' warm.sh
//   targets: [rootfs]
//   disk: {free: 2G}             # of the targets disk and gce: room beside what is in it (default 512M), or the whole: {size: 8G}
//   ami: {regions: all}           # of the target ami: ami_spec.h
//   epoch: 1767225600             # SOURCE_DATE_EPOCH; default: fixed in kiln
//
// With `extends`: packages and modules are the other spec's, then ours (a module in both gets both's parameters, ours win); any
// other key is ours where given, else the other's. `name` is always ours.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "config/ami_spec.h"
#include "config/module.h"

namespace kiln::config {

struct BaseSpec {
  enum class Kind { kDebian, kUbuntu, kTarball, kOci };
  Kind kind = Kind::kDebian;
  std::string suite;    // trixie, bookworm, noble …; a tarball's or an OCI image's may be empty
  std::string mirror;   // empty: the tool's default
  std::string keyring;  // absolute path of the keys that a suite's lists are signed with; empty: those that are installed
  std::string tarball;  // absolute path
  std::string sha256;
  std::string oci;  // a reference, or an absolute path
  std::string tag;  // of a path: which image of the layout; may be empty
  // Whether what a base holds is known by its kind alone: its suite's facts, its package manager.
  bool is_suite() const { return kind == Kind::kDebian || kind == Kind::kUbuntu; }
};

// How large a bootable disk is. Always whole GiB, since clouds count so.
struct DiskSpec {
  static constexpr std::int64_t kUnitBytes = std::int64_t{1} << 30;
  std::int64_t size_bytes = 0;                        // the whole disk; 0: what is in it and `free_bytes`, rounded up
  std::int64_t free_bytes = std::int64_t{512} << 20;  // room in the root file system
};

struct ModuleChoice {
  std::string name;
  Values params;     // given by the spec; the manifest's defaults fill the rest
  Place place = {};  // where it was written, if it was
  std::map<std::string, Place> param_places = {};
};

struct ImageSpec {
  std::string name;
  std::string summary;
  std::filesystem::path file;  // absolute
  BaseSpec base;
  std::string architecture;                // amd64, arm64; default: this machine's; of several the first
  std::vector<std::string> architectures;  // all that the spec names, that one first
  std::vector<std::string> beside = {};    // the images that are made of it for other architectures: specs_by_architecture()
  std::vector<std::string> packages;       // for any package manager
  std::map<std::string, std::vector<std::string>> family_packages;  // for that of Debian's kind ("debian"), or of rpm's ("rpm")
  std::vector<ModuleChoice> modules;
  bool warm = true;
  std::vector<std::string> targets = {"rootfs"};
  DiskSpec disk = {};
  std::optional<AmiSpec> ami = {};
  std::int64_t epoch = 1767225600;  // 2026-01-01T00:00:00Z
};

// The name of the image for one of a spec's architectures: the first has the spec's own name, any other NAME-ARCHITECTURE.
std::string image_name_for(const ImageSpec& spec, const std::string& architecture);
// A spec for several architectures as one spec for each, in their order, named as above, the first with the others' names in `beside`;
// a spec for one as it is.
std::vector<ImageSpec> specs_by_architecture(const ImageSpec& spec);

ImageSpec load_image_spec(const std::filesystem::path& file);
ImageSpec parse_image_spec(const std::string& file, const std::string& text);
// With the text of extended specs by `read` instead of from disk.
ImageSpec parse_image_spec(const std::string& file, const std::string& text,
                           const std::function<std::string(const std::string& file)>& read);
// The same members as the file has, of several architectures the one: what is stored with an image can be written out as a spec again (JSON
// is YAML).
Json image_spec_to_json(const ImageSpec& spec);
ImageSpec image_spec_from_json(const Json& json);

// What `targets:` may hold.
const std::vector<std::string>& known_targets();
// UsageError, at its place in the spec, for a parameter that the module does not have, with the nearest one as the hint.
void check_module_choice(const ModuleChoice& choice, const Module& manifest);

// What a distribution's suite brings by itself, for {java_version} and {python_version}: its newest Java with long-term support
// that Spark runs on, and its python3. Throws UsageError for a suite that kiln does not know, with those it does.
// All are empty for a tarball or OCI image that says no suite.
struct SuiteFacts {
  std::string java_version;
  std::string python_version;
  std::string kernel = {};  // the package of the kernel for virtual machines, where that is not called as in Debian
};
SuiteFacts suite_facts(const BaseSpec& base);
// bake_placeholders() and their values. What is not known (the suite of a tarball or OCI image) is left out, so that expand() names whoever
// needs it.
Values builtin_values(const BaseSpec& base, const std::string& architecture);
// This machine's: amd64 or arm64, or as uname calls it.
std::string host_architecture();

// Folders in which modules and specs are looked for, in order: --modules, $KILN_MODULES (':'-separated), the source tree or
// PREFIX/share/kiln that the running program belongs to.
struct SearchPath {
  std::vector<std::filesystem::path> folders;
  static SearchPath for_modules(const std::vector<std::filesystem::path>& extra = {});
  static SearchPath for_images();
};
// The module's folder; UsageError with the nearest name when there is none.
std::filesystem::path find_module(const SearchPath& path, const std::string& name);
// The same for one that a spec asks for: the error points at its place there.
std::filesystem::path find_module(const SearchPath& path, const ModuleChoice& choice);
// Every module's folder, by name; a name in an earlier folder of the path hides the same one in a later.
std::vector<std::filesystem::path> list_modules(const SearchPath& path);
// "spark" or "images/spark.yaml" or a path → the spec's file.
std::filesystem::path find_image_spec(const std::string& name_or_path);

}  // namespace kiln::config
