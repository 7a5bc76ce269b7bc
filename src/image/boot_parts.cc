// Partition table, GRUB for BIOS, EFI system partition.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/process.h"
#include "base/strings.h"
#include "image/disk_parts.h"

namespace kiln::image {

namespace {

void write_at(const fs::path& disk, std::int64_t offset, std::string_view bytes) {
  const Fd file(::open(disk.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) fail("cannot open '{}': {}", disk.native(), errno_text(errno));
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(file.get(), bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("cannot write '{}': {}", disk.native(), errno_text(errno));
    bytes.remove_prefix(static_cast<std::size_t>(count));
    offset += count;
  }
}

// A little-endian number of `size` bytes.
void put(std::string& bytes, std::size_t at, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) bytes.at(at + i) = static_cast<char>(value >> (8 * i));
}

std::string read_boot_file(const fs::path& folder, const char* name) {
  const auto text = read_file_if_there(folder / name);
  if (text) return *text;
  Error error(fmt::format("the image's boot loader is not whole: there is no '/usr/lib/kiln/machine/{}' in it", name));
  error.set_hint("module `machine` makes it");
  throw error;
}

// Machines of arm64 know no BIOS.
constexpr BootWay kBootWays[] = {{"amd64", true, "BOOTX64.EFI", "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"},
                                 {"arm64", false, "BOOTAA64.EFI", "B921B045-1DF0-41C3-AF44-4C6F280D3FAE"}};

}  // namespace

const BootWay* find_boot_way(const std::string& architecture) {
  const auto* way =
      std::find_if(std::begin(kBootWays), std::end(kBootWays), [&](const BootWay& one) { return architecture == one.architecture; });
  return way == std::end(kBootWays) ? nullptr : way;
}

std::string stable_uuid(const std::string& seed, const std::string& purpose) {
  std::string hex = sha256_hex("kiln disk " + seed + " " + purpose).substr(0, 32);
  hex[12] = '8';
  hex[16] = "89ab"[hex[16] % 4];
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" + hex.substr(16, 4) + "-" + hex.substr(20);
}

void write_table(const fs::path& disk, const DiskLayout& layout, const BootWay& way, const std::string& seed) {
  struct Partition {
    const char* name;
    std::int64_t start, size;
    const char* type;
  };
  // Types: GRUB's manual; UEFI 2.10, 5.3.3; the root's is the architecture's.
  std::vector<Partition> partitions = {{"efi", DiskLayout::kEfiStart, DiskLayout::kEfiBytes, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"},
                                       {"root", DiskLayout::kRootStart, layout.root_bytes(), way.root_type}};
  if (way.has_bios)
    partitions.insert(partitions.begin(), {"bios", DiskLayout::kBiosStart, DiskLayout::kBiosBytes, "21686148-6449-6E6F-744E-656564454649"});
  std::string script = fmt::format("label: gpt\nlabel-id: {}\n", stable_uuid(seed, "table"));
  for (const auto& part : partitions) {
    script += fmt::format("start={}, size={}, type={}, uuid={}, name=\"kiln {}\"\n", part.start / kSectorBytes, part.size / kSectorBytes,
                          part.type, stable_uuid(seed, std::string("partition ") + part.name), part.name);
  }
  ProcessOptions options;
  options.standard_input = script;
  run_checked({"sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "--wipe", "never", disk.native()}, options);
}

// Offsets: GRUB's include/grub/i386/pc/boot.h (GRUB_BOOT_MACHINE_KERNEL_SECTOR 0x5c, …_DRIVE_CHECK 0x66, the table at 0x1b8) and the block
// list that ends core.img's first sector: start, length, segment (struct grub_pc_bios_boot_blocklist).
void write_bios_loader(const fs::path& disk, const fs::path& folder) {
  std::string boot = read_boot_file(folder, "boot.img"), core = read_boot_file(folder, "core.img");
  if (boot.size() != kSectorBytes || core.size() < kSectorBytes) fail("GRUB's boot.img and core.img have not the sizes that they should");
  if (static_cast<std::int64_t>(core.size()) > DiskLayout::kBiosBytes)
    fail("GRUB's core.img of {} does not fit in its partition of {}", human_size(core.size()),
         human_size(static_cast<std::uintmax_t>(DiskLayout::kBiosBytes)));
  constexpr std::uint64_t kFirst = DiskLayout::kBiosStart / kSectorBytes;
  put(boot, 0x5c, kFirst, 8);
  // Two bytes of code that guard against firmware which names no drive: NOPs, as grub-install writes for a hard disk.
  boot[0x66] = boot[0x67] = static_cast<char>(0x90);
  core.resize((core.size() + kSectorBytes - 1) / kSectorBytes * kSectorBytes);
  put(core, 0x1f4, kFirst + 1, 8);
  put(core, 0x1fc, core.size() / kSectorBytes - 1, 2);
  put(core, 0x1fe, 0x820, 2);
  write_at(disk, 0, std::string_view(boot).substr(0, 0x1b8));
  write_at(disk, DiskLayout::kBiosStart, core);
}

void write_efi_partition(const fs::path& disk, const BootWay& way, const fs::path& folder, const fs::path& work, const std::string& seed,
                         std::int64_t epoch) {
  read_boot_file(folder, way.efi_file);
  const fs::path image = work / "efi.img";
  OutputFile(image).write("");
  fs::resize_file(image, static_cast<std::uintmax_t>(DiskLayout::kEfiBytes));
  ProcessOptions options;
  // mtools writes the present time, unless told one.
  options.extra_environment = {{"SOURCE_DATE_EPOCH", std::to_string(epoch)}, {"TZ", "UTC"}, {"MTOOLSRC", "/dev/null"}};
  const std::string volume = sha256_hex("kiln disk " + seed + " volume").substr(0, 8);
  run_checked({"mkfs.vfat", "--invariant", "-F", "32", "-s", "1", "-S", "512", "-n", "KILN-EFI", "-i", volume, image.native()}, options);
  run_checked({"mmd", "-i", image.native(), "::/EFI", "::/EFI/BOOT"}, options);
  run_checked({"mcopy", "-i", image.native(), (folder / way.efi_file).native(), std::string("::/EFI/BOOT/") + way.efi_file}, options);
  const std::string bytes = read_file(image);
  // What is zero stays a hole.
  constexpr std::size_t kPiece = 4096;
  for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
    const std::string_view piece = std::string_view(bytes).substr(at, kPiece);
    if (piece.find_first_not_of('\0') != std::string_view::npos)
      write_at(disk, DiskLayout::kEfiStart + static_cast<std::int64_t>(at), piece);
  }
  fs::remove(image);
}

}  // namespace kiln::image
