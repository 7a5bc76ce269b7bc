// rpm's packages. Its database is sqlite's, Berkeley's or one of its own, as the distribution pleases, so nobody but the image's own rpm is
// asked what is in it: in a sandbox over the image's layers, without a network. The answer is kept in the layer's bill (bill.h).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bake/bill.h"

namespace kiln::bake {

// Whether a layer with this list of files (layer_files.h) holds rpm's database.
bool has_rpm_database(const std::string& file_list);

struct RpmQuestion {
  std::vector<std::filesystem::path> layers;  // the files of the layers, lowest first
  std::filesystem::path log;                  // what rpm says beside its answer is appended
  std::string architecture;
};
// What is installed, by name, then architecture. Nothing when the image has no rpm or shell, or its rpm cannot read the database: that is
// how the image is, on any machine. Error when no program can run here (no emulator, no runc).
std::optional<std::vector<DistributionPackage>> ask_rpm(const Store& store, const RpmQuestion& question);

// Of lines NAME, EPOCH, VERSION-RELEASE, ARCHITECTURE, SOURCE PACKAGE's FILE, DIGEST, with tabs between. What is no such line is left out,
// and so are keys (gpg-pubkey), which rpm keeps as if they were packages.
std::vector<DistributionPackage> parse_rpm_answer(const std::string& text);

// "EPOCH:VERSION-RELEASE" or "VERSION-RELEASE" → the two; no epoch is "".
struct RpmVersion {
  std::string epoch, version;
};
RpmVersion split_rpm_version(const std::string& version);

}  // namespace kiln::bake
