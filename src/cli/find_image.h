// The image that a command names.
#pragma once

#include <string>

#include "bake/store.h"

namespace kiln::cli {

// UsageError with the nearest name when there is none.
bake::Image find_image(const bake::Store& store, const std::string& name);

}  // namespace kiln::cli
