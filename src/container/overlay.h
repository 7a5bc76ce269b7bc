// Overlay mounts: a node's or a bake step's root from a list of layers.
#pragma once

#include <filesystem>
#include <vector>

namespace kiln::container {

// Mounts `lower` (the top-most last) with `upper` (and its work folder beside it) at `target`. Inside a cell only.
// With "userxattr", for root too, so that layers have one format whoever made them: whiteouts are 0/0 character devices,
// opaque folders carry user.overlay.opaque=y.
void mount_overlay(const std::vector<std::filesystem::path>& lower, const std::filesystem::path& upper, const std::filesystem::path& work,
                   const std::filesystem::path& target);

}  // namespace kiln::container
