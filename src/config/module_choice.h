// `modules:` of image and cluster specs: the same list in both.
#pragma once

#include <string>
#include <vector>

#include "config/image_spec.h"
#include "config/yaml.h"

namespace kiln::config {

// A list of NAME or NAME: {PARAMETER: value}.
std::vector<ModuleChoice> read_module_choices(const Value& value);
// `over` on top of `under`: the order of `under`, then what only `over` has; of a parameter in both, `over`'s value.
std::vector<ModuleChoice> merge_module_choices(std::vector<ModuleChoice> under, const std::vector<ModuleChoice>& over);

}  // namespace kiln::config
