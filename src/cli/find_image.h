// The image that a command names.
#pragma once

#include <string>
#include <vector>

#include "bake/store.h"

namespace kiln::cli {

// UsageError with the nearest name when there is none.
bake::Image find_image(const bake::Store& store, const std::string& name);
// For what can hold several architectures: the image, and after each image those of its spec for other architectures, unless they are named
// themselves; with `architecture` only the one of each for that. Error when one of them is gone.
std::vector<bake::Image> find_images(const bake::Store& store, const std::vector<std::string>& names, const std::string& architecture);

}  // namespace kiln::cli
