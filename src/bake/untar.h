// A base system from a tarball, in any format and compression that libarchive reads.
#pragma once

#include <filesystem>

namespace kiln::bake {

// Unpacks with owners, modes, times, extended attributes; device nodes are left out. Nothing is written outside of `folder`, whatever
// the archive says. Inside a cell only: the process's working directory is `folder` from then on. Error naming the entry.
void untar(const std::filesystem::path& tarball, const std::filesystem::path& folder);

}  // namespace kiln::bake
