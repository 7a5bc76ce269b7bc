// Any bytes as a layer, onto a folder with links that lead out: unpacked or refused with a kiln::Error, and nothing is ever made, changed
// or removed outside of the folder (libFuzzer; -DKILN_FUZZ=ON).
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "oci/layer.h"

namespace {

using namespace kiln;

// outside/{canary, folder/file} beside target/, in a folder of this process.
class Place {
 public:
  Place() : folder_(fs::is_directory("/dev/shm") ? "/dev/shm" : fs::temp_directory_path(), "kiln-fuzz-") {
    make_folder(outside() / "folder");
    write_file_atomically(outside() / "canary", "alive");
    write_file_atomically(outside() / "folder/file", "alive");
  }
  fs::path target() const { return folder_.path() / "target"; }
  fs::path outside() const { return folder_.path() / "outside"; }
  void renew() const {
    remove_tree(target());
    make_folder(target() / "d/e");
    write_file_atomically(target() / "d/f", "f");
    fs::create_symlink("../..", target() / "d/up");
    fs::create_symlink("../outside", target() / "o");
    fs::create_symlink(outside(), target() / "a");
    fs::create_symlink(outside() / "canary", target() / "c");
    fs::create_symlink("d", target() / "l");
  }
  void check() const {
    int count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(outside())) count += entry.path().empty() ? 0 : 1;
    int beside = 0;
    for (const auto& entry : fs::directory_iterator(folder_.path())) beside += entry.path().empty() ? 0 : 1;
    const bool linked = fs::hard_link_count(outside() / "canary") != 1 || fs::hard_link_count(outside() / "folder/file") != 1;
    if (count != 3 || beside != 2 || linked || read_file(outside() / "canary") != "alive" ||
        read_file(outside() / "folder/file") != "alive")
      std::abort();
  }

 private:
  TemporaryFolder folder_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Place place;
  place.renew();
  Fd file(::memfd_create("layer", MFD_CLOEXEC));
  if (!file || ::write(file.get(), data, size) != static_cast<ssize_t>(size) || ::lseek(file.get(), 0, SEEK_SET) != 0) std::abort();
  try {
    oci::TreeWriter tree(place.target(), {1 << 20, 1 << 24}, false);
    oci::apply_layer(std::move(file), {"", "", static_cast<std::int64_t>(size)}, "fuzz", tree);
    tree.finish();
  } catch (const Error&) {
  }
  place.check();
  return 0;
}
