// What differs between two images: packages, modules, sources and files.
//
// Files are compared as they are seen with all layers on top of each other. What both images see from the same layer is the same without
// a look; of the rest, contents are read, in a cell, only where type and size do not tell. Of folders, only whether they are there counts.
#pragma once

#include <string>
#include <vector>

#include "bake/bill.h"

namespace kiln::image {

// One thing in either or both: `before` is empty for what was added, `after` for what was removed.
struct Change {
  std::string name;
  std::string before, after;
  bool operator==(const Change&) const = default;
};

struct ImageDiff {
  std::vector<Change> packages;    // name:architecture, versions
  std::vector<Change> python;      // name, versions
  std::vector<Change> jars;        // group:artifact, versions
  std::vector<Change> modules;     // "spark", "spark: worker_cores", "spark: init.sh"; there or not, values, digests
  std::vector<Change> sources;     // module/source, digests
  std::vector<Change> privileged;  // files that run as their owner or group: path, "4755 0:0"
  std::vector<Change> files;       // path, type
  bool empty() const;
};

// Errors when a layer of either is no longer in the store.
ImageDiff diff_images(const bake::Store& store, const bake::Image& before, const bake::Image& after);
// Without the files.
ImageDiff diff_bills(const bake::Bill& before, const bake::Bill& after);

}  // namespace kiln::image
