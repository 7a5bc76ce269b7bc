#include "container/overlay.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#include <cerrno>

#include "base/error.h"
#include "base/fd.h"

namespace kiln::container {

namespace {

constexpr long kOverlayMagic = 0x794c7630;      // linux/magic.h
constexpr std::size_t kMostOptionBytes = 4096;  // mount(2) takes a page

// Folders are named by open descriptors: the option string stays short however deep the store lies, and a ':' or ',' in a path needs
// no escaping.
std::string by_descriptor(const std::filesystem::path& folder, std::vector<Fd>& open_folders) {
  Fd fd(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) fail("cannot open the folder '{}': {}", folder.native(), errno_text(errno));
  open_folders.push_back(std::move(fd));
  return "/proc/self/fd/" + std::to_string(open_folders.back().get());
}

}  // namespace

void mount_overlay(const std::vector<std::filesystem::path>& lower, const std::filesystem::path& upper, const std::filesystem::path& work,
                   const std::filesystem::path& target) {
  if (lower.empty()) fail("cannot mount an overlay at '{}': it has no layer", target.native());
  std::vector<Fd> open_folders;
  std::string options = "userxattr,lowerdir=";
  for (std::size_t i = lower.size(); i-- > 0;) options += by_descriptor(lower[i], open_folders) + (i > 0 ? ":" : "");
  options += ",upperdir=" + by_descriptor(upper, open_folders);
  options += ",workdir=" + by_descriptor(work, open_folders);
  if (options.size() >= kMostOptionBytes)
    fail("cannot mount an overlay of {} layers at '{}': that is too many", lower.size(), target.native());
  if (::mount("overlay", target.c_str(), "overlay", 0, options.c_str()) == 0) return;

  const int reason = errno;
  Error error(fmt::format("cannot mount an overlay of {} layers with the upper folder '{}' at '{}': {}", lower.size(), upper.native(),
                          target.native(), errno_text(reason)));
  struct statfs filesystem {};
  if (::statfs(upper.c_str(), &filesystem) == 0 && filesystem.f_type == kOverlayMagic) {
    error.set_hint("the folder lies on an overlay file system itself: set KILN_HOME to a folder on a disk (ext4, xfs, btrfs)");
  } else {
    error.set_hint("`kiln doctor` says what the kernel lacks");
  }
  throw error;
}

}  // namespace kiln::container
