#include "container/foreign.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/process.h"
#include "config/image_spec.h"

namespace kiln::container {

namespace {

constexpr const char* kFolder = "/proc/sys/fs/binfmt_misc";

struct Emulator {
  const char* architecture;
  const char* name;     // QEMU's
  const char* machine;  // e_machine of the ELF header (gABI), little-endian, as binfmt_misc wants bytes
};
constexpr Emulator kEmulators[] = {{"arm64", "aarch64", "\\xb7\\x00"}, {"amd64", "x86_64", "\\x3e\\x00"}};

// ELF, 64 bits, little-endian, any system, executable or shared (position-independent).
constexpr const char* kMagic = "\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00";
constexpr const char* kMask = "\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff";

[[noreturn]] void fail_foreign(const std::string& architecture, const std::string& why, const std::string& hint) {
  Error error(fmt::format("programs for {} cannot run on this {} machine: {}", architecture, config::host_architecture(), why));
  error.set_hint(hint);
  throw error;
}

const Emulator& find_emulator(const std::string& architecture) {
  for (const auto& emulator : kEmulators) {
    if (architecture == emulator.architecture) return emulator;
  }
  fail_foreign(architecture, "kiln knows no emulator for them", "kiln knows amd64 and arm64");
}

// What somebody registered on the machine, with the flag that makes it work in any root.
bool is_registered(const Emulator& emulator) {
  const std::string text = read_file_if_there(std::filesystem::path(kFolder) / (std::string("qemu-") + emulator.name)).value_or("");
  const auto flags = text.find("flags:");
  return text.starts_with("enabled") && flags != std::string::npos && text.find('F', flags) < text.find('\n', flags);
}

bool kernel_has_own_registers() {
  utsname system{};
  int major = 0, minor = 0;
  return ::uname(&system) == 0 && std::sscanf(system.release, "%d.%d", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 7));
}

}  // namespace

bool is_foreign(const std::string& architecture) { return !architecture.empty() && architecture != config::host_architecture(); }

void run_foreign_programs(const std::string& architecture) {
  const Emulator& emulator = find_emulator(architecture);
  std::error_code error;
  const bool mounted_outside = std::filesystem::exists(std::filesystem::path(kFolder) / "status", error);
  if (mounted_outside && is_registered(emulator)) return;
  if (!kernel_has_own_registers())
    fail_foreign(architecture, "no emulator is registered with the kernel",
                 "sudo apt-get install qemu-user-static binfmt-support; from Linux 6.7 on kiln registers it for itself");
  const std::string name = std::string("qemu-") + emulator.name;
  auto program = find_program(name + "-static");
  if (!program) program = find_program(name);
  if (!program) fail_foreign(architecture, fmt::format("'{}-static' is not installed", name), "sudo apt-get install qemu-user-static");
  if (::mount("binfmt_misc", kFolder, "binfmt_misc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
    fail_foreign(architecture, fmt::format("binfmt_misc cannot be mounted: {}", errno_text(errno)),
                 "sudo modprobe binfmt_misc, or register the emulator: sudo apt-get install binfmt-support");
  const std::string line = fmt::format(":{}:M::{}{}:{}:{}:PF", name, kMagic, emulator.machine, kMask, *program);
  const Fd file(::open((std::string(kFolder) + "/register").c_str(), O_WRONLY | O_CLOEXEC));
  if (!file || ::write(file.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    fail_foreign(architecture, fmt::format("'{}' cannot be registered with the kernel: {}", *program, errno_text(errno)),
                 "sudo apt-get install binfmt-support registers it for the whole machine");
}

}  // namespace kiln::container
