#include "bake/unpack.h"

#include <algorithm>
#include <vector>

#include "bake/steps.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "base/strings.h"
#include "container/cell.h"

namespace kiln::bake {

namespace {

// As root of the cell, to whom everything then belongs. An archive with one folder at its top means what is in that.
Json unpack_job(const Json& arguments) {
  ::umask(022);
  const fs::path archive = arguments.at("archive").get<std::string>(), folder = arguments.at("folder").get<std::string>();
  make_folder(folder);
  const auto result = run({"tar", "--extract", "--file", archive.native(), "--directory", folder.native(), "--no-same-owner"});
  if (!result.ok()) {
    const bool full = result.error.find(errno_text(ENOSPC)) != std::string::npos;
    Error error(full ? errno_text(ENOSPC) : "tar cannot unpack it: " + std::string(trim(result.error)));
    error.set_hint(full ? kFullDiskHint : "`unpack: true` is for tar archives, compressed or not; of other files init.sh gets the path");
    throw error;
  }
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(folder)) entries.push_back(entry.path());
  const bool one_folder = entries.size() == 1 && fs::is_directory(fs::symlink_status(entries[0]));
  return {{"top", one_folder ? entries[0].filename().native() : std::string()}};
}

const container::RegisterCellJob kUnpack{"bake.unpack", unpack_job};

}  // namespace

bool Unpacker::has_archives(const PlannedModule& module) {
  return std::any_of(module.sources.begin(), module.sources.end(), [](const auto& request) { return request.spec.unpack(); });
}

void Unpacker::unpack(const PlannedModule& module) {
  const std::string& name = module.manifest.name;
  {
    const std::lock_guard guard(lock_);
    if (unpacked_.count(name) != 0) return;
  }
  Unpacked made{store_.make_work_folder(), {}};
  for (const auto& request : module.sources) {
    if (!request.spec.unpack()) continue;
    with_context(fmt::format("unpacking source '{}' of module '{}'", request.spec.name, name), [&] {
      const auto record = sources_.find(request);
      if (!record || !sources_.is_cached(*record)) fail("it is no longer in the store");
      Activity activity(fmt::format("unpack {}/{}", name, request.spec.name));
      const fs::path place = fs::path(kUnpackedFolder) / request.spec.name;
      const Json answer = container::run_in_cell(
          "bake.unpack", {{"archive", sources_.path_of(*record).native()}, {"folder", (made.work.path() / "fs" / place).native()}});
      const std::string top = answer.at("top");
      made.folders[request.spec.name] = top.empty() ? "/" / place : "/" / place / top;
      activity.finish();
    });
  }
  const std::lock_guard guard(lock_);
  unpacked_.emplace(name, std::move(made));
}

std::optional<Unpacked> Unpacker::take(const PlannedModule& module) {
  const std::lock_guard guard(lock_);
  const auto node = unpacked_.extract(module.manifest.name);
  if (!node) return std::nullopt;
  return std::move(node.mapped());
}

}  // namespace kiln::bake
