#include "image/disk_formats.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/process.h"
#include "base/strings.h"

namespace kiln::image {

namespace {

// Replaces bytes of a file that is there.
void patch(const fs::path& file, std::uint64_t offset, std::string_view bytes) {
  const Fd out(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!out || ::pwrite(out.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) != static_cast<ssize_t>(bytes.size()))
    fail("cannot write '{}': {}", file.native(), errno_text(errno));
}

std::string read_at(const fs::path& file, std::uint64_t offset, std::size_t size) {
  std::string bytes(size, '\0');
  const Fd in(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in || ::pread(in.get(), bytes.data(), size, static_cast<off_t>(offset)) != static_cast<ssize_t>(size))
    fail("cannot read '{}': {}", file.native(), errno_text(errno));
  return bytes;
}

// A VMDK's descriptor (VMware, Virtual Disk Format 5.0) holds a content id of up to eight hex digits, which qemu-img draws by lot, and the
// file's name, which is not yet the right one.
void settle_vmdk(const fs::path& file, const std::string& key) {
  // The descriptor lies in the sectors behind the header, filled up with zeros.
  constexpr std::size_t kDescriptorOffset = 512, kDescriptorBytes = 20 * 512;
  std::string text = read_at(file, kDescriptorOffset, kDescriptorBytes);
  // Behind its end there may be the rest of a longer one.
  text.resize(std::min(text.find('\0'), text.size()));
  const auto at = text.find("\nCID=");
  if (at == std::string::npos) fail("qemu-img wrote a VMDK without a content id");
  const auto value = at + 5;
  text.replace(value, text.find('\n', value) - value, sha256_hex("vmdk " + key).substr(0, 8));
  const std::string name = file.filename().native() + "\"";
  if (const auto named = text.find("\"" + name); named != std::string::npos)
    text.replace(named + 1, name.size(), file.stem().native() + "\"");
  text.resize(kDescriptorBytes);
  patch(file, kDescriptorOffset, text);
}

// Time and UUID in a VHD's footer and the copy of it in front (Microsoft, Virtual Hard Disk Image Format Specification 1.0).
void settle_vhd(const fs::path& file, const std::string& key) {
  constexpr std::size_t kFooterBytes = 512, kTime = 24, kChecksum = 64, kUuid = 68;
  std::string footer = read_at(file, 0, kFooterBytes);
  if (!footer.starts_with("conectix")) fail("qemu-img wrote a VHD without a footer in front");
  const std::string uuid = sha256_hex("vhd " + key);
  for (std::size_t i = 0; i < 4; ++i) footer[kTime + i] = '\0';
  for (std::size_t i = 0; i < 16; ++i) footer[kUuid + i] = static_cast<char>(std::stoi(uuid.substr(2 * i, 2), nullptr, 16));
  for (std::size_t i = 0; i < 4; ++i) footer[kChecksum + i] = '\0';
  std::uint32_t sum = 0;
  for (const char c : footer) sum += static_cast<unsigned char>(c);
  for (std::size_t i = 0; i < 4; ++i) footer[kChecksum + i] = static_cast<char>(~sum >> (24 - 8 * i));
  patch(file, 0, footer);
  patch(file, fs::file_size(file) - kFooterBytes, footer);
}

struct Format {
  const char* name;
  const char* qemu_name;  // none: as it is
  const char* options;    // qemu-img's
  void (*settle)(const fs::path& file, const std::string& key);
};
constexpr Format kFormats[] = {
    {"raw", nullptr, "", nullptr},
    // 1.1 is read by every QEMU since 2012; without it qemu-img's default would change with its version.
    {"qcow2", "qcow2", "compat=1.1,lazy_refcounts=off", nullptr},
    // What VMware and cloud imports take: compressed, to be read from front to back.
    {"vmdk", "vmdk", "subformat=streamOptimized", settle_vmdk},
    // force_size: else the size is rounded to what old disk geometries can say.
    {"vhd", "vpc", "subformat=dynamic,force_size=on", settle_vhd},
    {"vhdx", "vhdx", "subformat=dynamic", nullptr},
};

const Format& find_format(const std::string& name) {
  const auto found = std::find_if(std::begin(kFormats), std::end(kFormats), [&](const Format& format) { return name == format.name; });
  if (found != std::end(kFormats)) return *found;
  UsageError error(fmt::format("there is no disk format '{}'", name));
  std::vector<std::string> names;
  for (const auto& format : kFormats) names.emplace_back(format.name);
  error.set_hint("there are: " + join(names, ", "));
  throw error;
}

// Why the file could not be written. qemu-img may have other words for a full disk ("Invalid argument", where it was a VMDK).
std::string why_not_written(const fs::path& part, const std::string& error) {
  constexpr std::uintmax_t kFullBytes = 1 << 20;  // what is free is less than a program writes at a time
  const std::string full = errno_text(ENOSPC);
  std::error_code ignored;
  const auto space = fs::space(fs::absolute(part).parent_path(), ignored);
  const bool is_full = !ignored && space.available < kFullBytes && error.find(full) == std::string::npos;
  return is_full && fs::exists(part, ignored) ? fmt::format("{} ({})", full, error) : error;
}

// Runs the command that writes `file`.part, finishes that and renames it.
template <class Command, class Settle>
void write_in_one_step(const fs::path& file, Command command, Settle settle) {
  if (fs::is_directory(file)) fail_usage("'{}' is a folder", file.native());
  const fs::path part = file.native() + ".part";
  std::error_code ignored;
  fs::remove(part, ignored);
  try {
    ProcessOptions options;
    options.extra_environment = {{"LC_ALL", "C"}};
    const auto result = run(command(part), options);
    if (!result.ok()) fail("cannot write '{}': {}", file.native(), why_not_written(part, std::string(trim(result.error))));
    settle(part);
    const Fd written(::open(part.c_str(), O_RDONLY | O_CLOEXEC));
    if (!written || ::fsync(written.get()) != 0) fail("cannot write '{}': {}", file.native(), errno_text(errno));
    fs::rename(part, file);
  } catch (...) {
    fs::remove(part, ignored);
    throw;
  }
}

}  // namespace

std::vector<const char*> disk_formats() {
  std::vector<const char*> names;
  for (const auto& format : kFormats) names.push_back(format.name);
  return names;
}

std::vector<Program> disk_format_programs(const std::string& format) {
  if (find_format(format).qemu_name == nullptr) return {};
  return {{"qemu-img", "qemu-utils"}};
}

void write_disk(const Disk& disk, const std::string& format_name, const fs::path& file) {
  const Format& format = find_format(format_name);
  if (format.qemu_name == nullptr) return copy_file_in_one_step(disk.file, file);
  require_programs(disk_format_programs(format_name), fmt::format("a {} disk", format_name));
  write_in_one_step(
      file,
      [&](const fs::path& part) -> std::vector<std::string> {
        return {"qemu-img", "convert", "-f", "raw", "-O", format.qemu_name, "-o", format.options, disk.file.native(), part.native()};
      },
      [&](const fs::path& part) {
        if (format.settle != nullptr) format.settle(part, disk.key);
      });
}

void copy_file_in_one_step(const fs::path& from, const fs::path& to) {
  write_in_one_step(
      to,
      [&](const fs::path& part) -> std::vector<std::string> {
        return {"cp", "--reflink=auto", "--sparse=always", "--", from.native(), part.native()};
      },
      [](const fs::path&) {});
}

}  // namespace kiln::image
