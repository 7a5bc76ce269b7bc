#include "node/container.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>

#include <sstream>

#include "base/fd.h"
#include "base/files.h"
#include "base/strings.h"

namespace kiln::node {

namespace {

std::string text_of(const in_addr& address) {
  char text[INET_ADDRSTRLEN];
  return ::inet_ntop(AF_INET, &address, text, sizeof text) != nullptr ? text : "";
}

// Where packets to the world would leave from. Nothing is sent: 192.0.2.1 is for documentation (RFC 5737).
std::string leaving_address() {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{}, from{};
  to.sin_family = AF_INET;
  to.sin_port = htons(9);
  ::inet_pton(AF_INET, "192.0.2.1", &to.sin_addr);
  socklen_t size = sizeof from;
  if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&from), &size) < 0)
    return {};
  return text_of(from.sin_addr);
}

std::string any_address() {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) < 0) return {};
  std::string found;
  for (const ifaddrs* each = all; each != nullptr && found.empty(); each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET) continue;
    if ((each->ifa_flags & IFF_LOOPBACK) != 0 || (each->ifa_flags & IFF_UP) == 0) continue;
    found = text_of(reinterpret_cast<const sockaddr_in*>(each->ifa_addr)->sin_addr);
  }
  ::freeifaddrs(all);
  return found;
}

// The number in a control group's file; nothing for "max", -1 and for a file that is not there.
std::optional<double> number_in(const std::filesystem::path& file) {
  const auto text = read_file_if_there(file);
  double value = 0;
  if (!text || !(std::istringstream(*text) >> value) || value <= 0) return {};
  return value;
}

}  // namespace

std::string address_in_hosts(const std::string& hosts, const std::string& hostname) {
  for (const auto& line : split(hosts, '\n')) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string address, name;
    in_addr parsed;
    if (!(words >> address) || ::inet_pton(AF_INET, address.c_str(), &parsed) != 1 || address.starts_with("127.")) continue;
    while (words >> name)
      if (name == hostname) return address;
  }
  return {};
}

std::string own_address(const std::string& hosts, const std::string& hostname) {
  if (auto address = address_in_hosts(hosts, hostname); !address.empty()) return address;
  if (auto address = leaving_address(); !address.empty()) return address;
  if (auto address = any_address(); !address.empty()) return address;
  return "127.0.0.1";
}

ContainerLimits container_limits(const std::filesystem::path& root) {
  ContainerLimits limits;
  struct sysinfo machine {};
  ::sysinfo(&machine);
  const double memory_bytes = static_cast<double>(machine.totalram) * machine.mem_unit;
  // Version 1 says "no limit" by a number beyond any machine's memory.
  for (const char* name : {"memory.max", "memory/memory.limit_in_bytes"})
    if (const auto bytes = number_in(root / name); bytes && *bytes < memory_bytes) limits.memory_bytes = static_cast<std::int64_t>(*bytes);

  cpu_set_t set;
  const double mine = ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
  std::optional<double> quota, period;
  if (const auto both = read_file_if_there(root / "cpu.max")) {  // "max 100000" or "200000 100000"
    double first = 0, second = 0;
    if (std::istringstream(*both) >> first >> second) quota = first, period = second;
  } else {
    quota = number_in(root / "cpu/cpu.cfs_quota_us");
    period = number_in(root / "cpu/cpu.cfs_period_us");
  }
  limits.cpus = mine;
  if (quota && period && *period > 0 && (mine == 0 || *quota / *period < mine)) limits.cpus = *quota / *period;
  return limits;
}

}  // namespace kiln::node
