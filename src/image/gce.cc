#include "image/gce.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "bake/steps.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/process.h"

namespace kiln::image {

namespace {

constexpr const char* kArchive = "gce.tar.gz";
// The raw disk is mostly programs that are compressed already (jars, wheels): what a higher level wins of the size is a hundredth,
// what it costs is twice the time.
constexpr const char* kCompress = "gzip -n -4";

}  // namespace

std::vector<Program> gce_programs() {
  auto programs = disk_programs();
  programs.push_back({"tar", "tar"});
  programs.push_back({"gzip", "gzip"});
  return programs;
}

GceArchive make_gce_archive(const bake::Store& store, const Disk& disk, const bake::Image& image) {
  const fs::path file = disk.file.parent_path() / kArchive;
  std::error_code error;
  GceArchive archive{file, 0, true};
  const auto is_there = [&] {
    archive.size_bytes = static_cast<std::int64_t>(fs::file_size(file, error));
    return !error;
  };
  if (is_there()) return archive;
  const FileLock one_maker = store.lock(sha256_hex("gce " + disk.key), "the Compute Engine archive of image '" + image.name + "'");
  if (is_there()) return archive;
  require_programs(gce_programs(), "target 'gce'");

  Activity activity("gce " + image.name);
  const auto work = store.make_work_folder();
  const fs::path out = work.path() / kArchive;
  // Holes by content, not by where this file system happens to have them: the same bytes everywhere.
  const auto result =
      run({"tar", "--create", "--format=oldgnu", "--sparse", "--hole-detection=raw", "--owner=0", "--group=0", "--numeric-owner",
           "--mode=0644", "--mtime=@" + std::to_string(image.spec.value("epoch", std::int64_t{0})), "--directory",
           disk.file.parent_path().native(), std::string("--use-compress-program=") + kCompress, "--file", out.native(), "disk.raw"});
  if (!result.ok()) {
    const bool full = result.error.find(errno_text(ENOSPC)) != std::string::npos;
    Error failed(full ? errno_text(ENOSPC) : "tar failed: " + result.error);
    if (full) failed.set_hint(bake::kFullDiskHint);
    throw failed;
  }
  const Fd written(::open(out.c_str(), O_RDONLY | O_CLOEXEC));
  if (!written || ::fsync(written.get()) != 0) fail("cannot write '{}': {}", out.native(), errno_text(errno));
  fs::rename(out, file);
  archive.reused = false;
  is_there();
  activity.finish({{"size_bytes", archive.size_bytes}});
  return archive;
}

}  // namespace kiln::image
