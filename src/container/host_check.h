// The parts of check_host() (cell.h) that decide, apart from those that look: for tests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "container/cell.h"

namespace kiln::container {

// What /proc/sys says; nothing: there is no such setting on this kernel.
struct NamespaceSettings {
  std::optional<long> unprivileged_clone;   // kernel.unprivileged_userns_clone (Debian, Arch): 0 forbids
  std::optional<long> most;                 // user.max_user_namespaces: 0 forbids
  std::optional<long> apparmor_restricted;  // kernel.apparmor_restrict_unprivileged_userns (Ubuntu): 1 takes their rights away
};
Check check_user_namespaces(const NamespaceSettings& settings);

Check check_subordinate_ids(const std::string& user, std::uint64_t users, std::uint64_t groups);

// `release`: as uname -r says it. 5.11 is the first with overlays for user namespaces (userxattr).
Check check_kernel(const std::string& release, const std::string& proc_filesystems);

}  // namespace kiln::container
