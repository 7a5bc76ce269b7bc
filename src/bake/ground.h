// Packages that are added to a finished image (plan.h) are installed over its base and packages alone, so that they are there already when
// only a module changed. That is right as long as they would have become the same over the modules, which is looked at once they are
// installed: no path of theirs may be one of the modules' (a module that installs packages has the package manager's database, for
// one; one that brings libraries has the linker's cache), and accounts must not need one number twice.
#pragma once

#include <string>
#include <vector>

#include "bake/store.h"

namespace kiln::bake {

struct GroundLayer {
  std::string name, key;
};
// Whether a layer disturbs one of those between it and what it stands on. All of them are in the store. Reads their lists and
// /etc/passwd and /etc/group; runs nothing.
bool are_in_the_way(const Store& store, const GroundLayer& packages, const std::vector<GroundLayer>& between);

}  // namespace kiln::bake
