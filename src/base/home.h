// Where kiln keeps what is the user's: images, layers, clusters.
#pragma once

#include <filesystem>

namespace kiln {

// $KILN_HOME, else /var/lib/kiln for root and ~/.local/share/kiln for others. Absolute; not made.
std::filesystem::path home_folder();

}  // namespace kiln
