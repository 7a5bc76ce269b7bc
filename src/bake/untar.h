// A base system from a tarball, in any format and compression that libarchive reads.
#pragma once

#include <filesystem>
#include <string>

namespace kiln::bake {

// Unpacks with owners, modes, times, extended attributes; device nodes are left out. Nothing is written outside of `folder`, whatever
// the archive says (oci/tree_writer.h). Inside a cell only: it gives files their owners. Error naming the entry.
// `sha256`: what the file must be; empty: anything.
void untar(const std::filesystem::path& tarball, const std::string& sha256, const std::filesystem::path& folder);

}  // namespace kiln::bake
