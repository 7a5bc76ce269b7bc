#include "image/disk.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "bake/steps.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"
#include "container/cell.h"
#include "container/overlay.h"
#include "image/disk_parts.h"
#include "image/rootfs.h"

namespace kiln::image {

namespace {

// Counts how kiln makes disks: another number, and all are made anew.
constexpr int kDiskFormat = 3;

using config::DiskSpec;

std::int64_t round_up(std::int64_t bytes, std::int64_t unit) { return (bytes + unit - 1) / unit * unit; }

std::string human(std::int64_t bytes) { return human_size(static_cast<std::uintmax_t>(bytes)); }

// How large the disk gets, with the root's needs known.
DiskLayout plan_layout(const DiskSpec& wish, const RootNeeds& needs) {
  constexpr std::int64_t kAround = DiskLayout::kRootStart + DiskLayout::kEndBytes;
  if (wish.size_bytes == 0) return {round_up(kAround + root_bytes_for(needs, wish.free_bytes), DiskSpec::kUnitBytes)};
  const std::int64_t least = round_up(kAround + root_bytes_for(needs, 0), DiskSpec::kUnitBytes);
  if (wish.size_bytes >= least) return {wish.size_bytes};
  UsageError error(fmt::format("a disk of {} is too small for what is in it: that needs {}", human(wish.size_bytes), human(least)));
  error.set_hint(fmt::format("write 'disk: {{size: {}G}}' or more, or 'disk: {{free: 1G}}' for what is needed and a GiB more",
                             least / DiskSpec::kUnitBytes));
  throw error;
}

// The merged layers, read as one tree; for the time of the job. Nothing is written to it.
fs::path mount_layers(const std::vector<fs::path>& lower, const fs::path& work) {
  for (const char* name : {"upper", "overlay", "root"}) make_folder(work / name);
  container::mount_overlay(lower, work / "upper", work / "overlay", work / "root");
  return work / "root";
}

void sync_file(const fs::path& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file || ::fsync(file.get()) != 0) fail("cannot write '{}': {}", path.native(), errno_text(errno));
}

Json disk_job(const Json& arguments) {
  ::umask(022);
  const fs::path work = arguments.at("work").get<std::string>();
  std::vector<fs::path> layers;
  for (const auto& layer : arguments.at("layers")) layers.emplace_back(layer.get<std::string>());
  const fs::path root = mount_layers(layers, work);
  const std::string seed = arguments.at("seed");
  const std::int64_t epoch = arguments.at("epoch");
  const RootTree tree = read_root(root, layers);
  const RootNeeds needs = measure_root(tree);
  DiskLayout layout = plan_layout({arguments.at("size_bytes"), arguments.at("free_bytes")}, needs);

  const fs::path disk = work / "out/disk.raw", boot = root / "usr/lib/kiln/machine";
  make_folder(disk.parent_path());
  OutputFile(disk).write("");
  fs::resize_file(disk, static_cast<std::uintmax_t>(layout.size_bytes));
  const BootWay& way = *find_boot_way(arguments.at("architecture"));
  write_table(disk, layout, way, seed);
  if (way.has_bios) write_bios_loader(disk, boot);
  write_efi_partition(disk, way, boot, work, seed, epoch);
  const std::int64_t free_bytes = write_root(disk, layout, tree, needs, arguments.at("earlier").get<std::string>(), work, seed, epoch,
                                             arguments.at("suite") != "jammy");  // its GRUB 2.06 lacks what Debian's has
  if (::umount2(root.c_str(), 0) != 0) fail("cannot unmount '{}': {}", root.native(), errno_text(errno));
  sync_file(disk);
  return {{"size_bytes", layout.size_bytes}, {"free_bytes", free_bytes}};
}

const container::RegisterCellJob kDisk{"image.disk", disk_job};

std::optional<Disk> find_disk(const bake::Store& store, const std::string& key, const bake::Image& machine) {
  const fs::path folder = store.home() / "disks" / key;
  const auto text = read_file_if_there(folder / "disk.json");
  if (!text) return std::nullopt;
  const Json record = Json::parse(*text, nullptr, false);
  Disk disk{key, folder / "disk.raw", record.is_object() ? record.value("size_bytes", std::int64_t{0}) : 0, true, machine};
  std::error_code error;
  // Cut or lost: made again.
  if (static_cast<std::int64_t>(fs::file_size(disk.file, error)) != disk.size_bytes || error || disk.size_bytes == 0) return std::nullopt;
  return disk;
}

// The disk that was made last: often of an earlier version of the same image, and then most of it is the same. Empty when there is none.
fs::path newest_disk(const bake::Store& store) {
  fs::path newest;
  fs::file_time_type newest_time;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(store.home() / "disks", ignored)) {
    const fs::path disk = entry.path() / "disk.raw";
    const auto time = fs::last_write_time(disk, ignored);
    if (ignored || (!newest.empty() && time <= newest_time)) continue;
    newest = disk;
    newest_time = time;
  }
  return newest;
}

bake::Addition machine_addition() { return {"for machines", "bake", kMachineModule}; }

// What a machine of the image needs on top of it; nothing when the image has it.
std::vector<config::ModuleChoice> missing_for_machine(const bake::Image& image) {
  config::ModuleChoice machine;
  machine.name = kMachineModule;
  for (const auto& module : image.modules) {
    if (module.manifest.name == kMachineModule) return {};
  }
  const std::string kernel = config::suite_facts(config::image_spec_from_json(image.spec).base).kernel;
  if (!kernel.empty()) machine.params["kernel"] = kernel;
  return {machine};
}

bake::Image machine_of(bake::Store& store, const bake::Image& image, const bake::BakeOptions& options) {
  const auto missing = missing_for_machine(image);
  return missing.empty() ? image : bake::add_modules(store, image, missing, options, machine_addition());
}

void check_architecture(const bake::Image& image) {
  if (find_boot_way(image.architecture) != nullptr) return;
  UsageError error(fmt::format("image '{}' is for {}: kiln knows no boot loader for that", image.name, image.architecture));
  error.set_hint("machines are made for amd64 and arm64; leave the targets disk, ami and gce out");
  throw error;
}

}  // namespace

std::vector<Program> disk_programs() {
  return {{"mke2fs", "e2fsprogs"}, {"sfdisk", "fdisk"}, {"mkfs.vfat", "dosfstools"}, {"mmd", "mtools"}, {"mcopy", "mtools"}};
}

void add_machine_packages(bake::Store& store, const bake::Image& ground, const bake::BakeOptions& options) {
  check_architecture(ground);
  const auto missing = missing_for_machine(ground);
  if (!missing.empty()) bake::add_packages(store, ground, missing, options, machine_addition());
}

Disk make_disk(bake::Store& store, const bake::Image& image, const bake::BakeOptions& options) {
  check_architecture(image);
  const bake::Image machine = machine_of(store, image, options);
  const config::ImageSpec spec = config::image_spec_from_json(image.spec);
  const Json wish = image.spec.value("disk", Json());
  const std::string key = sha256_hex(Json{
      {"format", kDiskFormat},
      {"image", machine.digest},
      {"size_bytes", spec.disk.size_bytes},
      {"free_bytes", spec.disk.size_bytes != 0 ? 0 : spec.disk.free_bytes},
      {"epoch", spec.epoch}}.dump());
  if (auto there = find_disk(store, key, machine)) return *there;
  const FileLock one_maker = store.lock(key, "the disk of image '" + image.name + "'");
  if (auto made = find_disk(store, key, machine)) {
    made->reused = false;
    return *made;
  }
  require_programs(disk_programs(), "a disk");

  Activity activity("disk " + image.name);
  Json folders = Json::array(), keys = Json::array();
  for (const auto& folder : rootfs_folders(store, machine)) folders.push_back(folder.native());
  for (const auto& layer : machine.layers) keys.push_back(layer.key);
  const auto work = store.make_work_folder();
  Json made;
  try {
    made = container::run_in_cell("image.disk", {{"layers", folders},
                                                 {"work", work.path().native()},
                                                 {"earlier", newest_disk(store).native()},
                                                 {"architecture", machine.architecture},
                                                 {"seed", machine.digest},
                                                 {"epoch", spec.epoch},
                                                 {"suite", machine.suite},
                                                 {"size_bytes", spec.disk.size_bytes},
                                                 {"free_bytes", spec.disk.free_bytes}});
  } catch (Error& error) {
    if (error.hint_text().empty() && error.message().find(errno_text(ENOSPC)) != std::string::npos) error.set_hint(bake::kFullDiskHint);
    throw;
  }
  const std::int64_t size_bytes = made.at("size_bytes");
  write_file_atomically(
      work.path() / "out/disk.json",
      Json{{"image", image.digest}, {"disk", wish}, {"layers", keys}, {"size_bytes", size_bytes}, {"free_bytes", made.at("free_bytes")}}
              .dump(1) +
          "\n");
  const fs::path folder = store.folder("disks") / key;
  std::error_code ignored;
  // One whose disk was cut or lost.
  fs::remove_all(folder, ignored);
  fs::rename(work.path() / "out", folder);
  activity.finish({{"size_bytes", size_bytes}});
  return {key, folder / "disk.raw", size_bytes, false, machine};
}

}  // namespace kiln::image
