// A parcel: one file with all that makes a node of a machine that runs a distribution's own image, but for the distribution's packages. It
// is made on the launcher's machine, whose store has the sources, and unpacked and installed by modules/stock on the nodes.
//
//   plan.json        what to install, in which order (modules/stock/files/install)
//   kiln-node        the agent;  image.json what it reads of an image;  mount-disks module machine's
//   modules/NAME/    as in /usr/lib/kiln/modules of an image
//   sources/MODULE/  as fetched: archives are unpacked over there
//   stock/           the program that installs, and the units
//
// A plain tar: what is large in it is packed already. The same inputs give the same bytes.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "bake/bake.h"

namespace kiln::bake {

// What it is made for: the base is in the spec.
struct StockSystem {
  std::string id, version;  // as /etc/os-release has them: ID, VERSION_ID
  std::string package_family;
};

struct Parcel {
  WorkFolder work;  // in which the file is
  std::filesystem::path file;
  std::string sha256;
  Image image;  // name, digest (the file's), spec and modules; no layers
};

// Fetches what the store lacks of the sources ("source MODULE/NAME" activities). Errors as with bake().
Parcel make_parcel(Store& store, const config::ImageSpec& spec, const StockSystem& system, const BakeOptions& options);

// The files that a machine has before the parcel, by name: of modules/stock.
std::map<std::string, std::string> stock_files(const config::SearchPath& modules);

}  // namespace kiln::bake
