// Lock files: what an image was baked of, so exactly that it can be baked again (`kiln bake --lock`, then `--locked`).
//
// SPEC's name with .lock.json behind it, JSON for people to read and to keep beside the spec:
//   kiln_lock: 1, image, architecture, layer_format, epoch, warm
//   base: {distribution, suite, mirror}, {tarball: SHA-256} or {image: "sha256:…"}, the digest of the OCI image's manifest for the
//   architecture family                                          rpm, where packages are not Debian's releases: [{layer, file, date,
//   sha256}…]        what the distribution's mirrors said when the packages were installed (InRelease) requested: [NAME…] what the spec and
//   the modules asked for packages: {base: ["NAME VERSION ARCH [sha256:…]"…], packages: […]}   all that was installed when the layer was
//   made; the digest is that
//                                                   of the .deb, or of the header of the rpm package, in which that of its content is
//   modules: {NAME: {params: {…}, files: {PATH: "DIGEST MODE"}, sources: {NAME: {digest, from}}}}
//   added: {MODULE: {warm, requested, packages: […], modules: {…}}}   what targets lay over the image, with all that this brings; as above
//   unpinned: [{what, why}…]                        what the lock cannot promise
//
// A locked bake checks that the spec and the modules are those of the lock, installs the recorded versions (an apt preferences file that
// wants them above all others; of rpm packages, by name, version, release and architecture), takes the base's image by its digest, and
// refuses layers and sources that are not what was recorded.
//
// Keys. A layer that the store has under its usual key, with exactly the recorded packages, is used: a bake, then --lock, then --locked
// builds nothing. Where that layer has other versions, the locked one gets a key of its own, with the digest of the recorded list among
// its inputs (`lock`), and so have those above it. Rejected: that digest in every key, which would build everything twice.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "bake/bill.h"
#include "bake/plan.h"

namespace kiln::bake {

struct LockedPackage {
  std::string name, version, architecture;
  std::string sha256;  // of the .deb, or of the rpm package's header; empty: not known
  bool operator==(const LockedPackage&) const = default;
};

struct LockedSource {
  std::string digest;
  std::string from;
};

struct LockedModule {
  config::Values params;
  std::map<std::string, std::string> files;
  std::map<std::string, LockedSource> sources;
};

// What a target lays over the image.
struct LockedAddition {
  bool warm = false;
  std::vector<std::string> requested;
  std::vector<LockedPackage> packages;  // empty: it installed none
  std::map<std::string, LockedModule> modules;
};

struct Lock {
  std::string file;
  std::string image, architecture;
  std::string family;  // "debian", "rpm"
  std::int64_t layer_format = 0, epoch = 0;
  bool warm = false;
  std::string date;  // of the first release, as it says it; empty: not known
  std::map<std::string, std::string> base;
  std::vector<std::string> requested;
  std::map<std::string, std::vector<LockedPackage>> packages;  // by layer: base, packages
  std::map<std::string, LockedModule> modules;
  std::map<std::string, LockedAddition> added;  // by the module that the target asks for

  // What is installed once the layer ("base", "packages") is made.
  std::vector<LockedPackage> state_after(const std::string& layer) const;
  // For apt: these versions above all others, also older ones. apt_preferences(5)
  std::string preferences(const std::string& layer) const;
  // For dnf and its like: what the layer has that the base has not, as NAME-[EPOCH:]VERSION-RELEASE.ARCHITECTURE.
  std::vector<std::string> rpm_packages(const std::string& layer) const;
  // SHA-256 of the base's OCI image; empty where it is none.
  std::string base_image() const;
};

// images/spark.yaml → images/spark.lock.json
std::filesystem::path default_lock_file(const std::filesystem::path& spec_file);
// ConfigError with file:line:column for what is no lock file; UsageError when there is none.
Lock read_lock(const std::filesystem::path& file);
// The text of the lock file of an image that was just baked. `added`: the images that targets made of it, by the module they added.
std::string lock_text(const Store& store, const Image& image, const std::map<std::string, Image>& added = {});
// What a base is, of the inputs of its layer.
std::map<std::string, std::string> base_words(const Json& inputs);
// The lock of what is added to the image, as if that were an image by itself. UsageError when the lock knows nothing of it.
Lock lock_of_addition(const Lock& lock, const std::string& module);

// The modules ask git for the commits that the lock recorded, not for what a branch is now.
void pin_commits(const Lock& lock, std::vector<PlannedModule>& modules);
// The request of the base's image asks for that digest, whatever its tag stands for now.
void pin_image(SourceRequest& request, const std::string& sha256);
// UsageError that lists everything in which the spec and its modules are not what was locked.
void check_lock(const Lock& lock, const Plan& plan);
// The digest that the lock has for the source; empty when it does not know it.
std::string locked_source(const Lock& lock, const SourceRequest& request);
// Error when the source has another digest than the lock says.
void check_locked_source(const Lock& lock, const SourceRequest& request, const std::string& digest);
// In what the packages of a layer are not those of the lock, in words; empty: they are the same.
std::vector<std::string> differences_from_lock(const Lock& lock, const std::string& layer,
                                               const std::vector<DistributionPackage>& installed,
                                               const std::map<std::string, std::string>& digests);
// Error that names what can no longer be had.
void check_locked_packages(const Lock& lock, const std::string& layer, const std::vector<DistributionPackage>& installed,
                           const std::map<std::string, std::string>& digests);
// The input of a layer's key that says which packages were locked.
std::string lock_digest(const Lock& lock, const std::string& layer);

}  // namespace kiln::bake
