// Archives that init.sh gets unpacked (`unpack: true` of a source). Unpacking waits for nothing that is baked: it happens beside the
// base and the packages, which keep one processor busy. The files lie where the layer's own files are written, so that init.sh moves
// them to their place, in no time; what it leaves is no part of the layer.
#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "bake/plan.h"
#include "bake/sources.h"
#include "bake/store.h"

namespace kiln::bake {

// In a layer's files while its scripts run.
inline constexpr const char* kUnpackedFolder = ".kiln-unpacked";

// A layer's work folder in which its archives have been unpacked.
struct Unpacked {
  WorkFolder work;
  SourceFolders folders;
};

class Unpacker {
 public:
  Unpacker(const Store& store, const Sources& sources) : store_(store), sources_(sources) {}

  static bool has_archives(const PlannedModule& module);
  // Unpacks the module's archives, whose records must be there, unless that has been done. Error naming the archive.
  void unpack(const PlannedModule& module);
  // What unpack() made of it, once.
  std::optional<Unpacked> take(const PlannedModule& module);

 private:
  const Store& store_;
  const Sources& sources_;
  std::mutex lock_;
  std::map<std::string, Unpacked> unpacked_;  // by module
};

}  // namespace kiln::bake
