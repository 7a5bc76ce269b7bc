#include "bake/untar.h"

#include "base/error.h"
#include "oci/tree_writer.h"

namespace kiln::bake {

void untar(const std::filesystem::path& tarball, const std::string& sha256, const std::filesystem::path& folder) {
  oci::ArchiveOptions options;
  options.any_format = true;
  options.digest = !sha256.empty();
  oci::ArchiveReader archive(oci::ArchiveReader::open(tarball), tarball.native(), options);
  oci::TreeWriter tree(folder, oci::limits_by_free_space(folder));
  with_context("unpacking '" + tarball.native() + "'", [&] {
    while (archive_entry* entry = archive.next()) tree.write(archive, entry, tree.resolve(archive.path_of(entry)));
    tree.finish();
    const auto whole = archive.finish();
    if (!sha256.empty() && whole.digest != "sha256:" + sha256) fail("its SHA-256 is {}, expected {}", whole.digest.substr(7), sha256);
  });
}

}  // namespace kiln::bake
