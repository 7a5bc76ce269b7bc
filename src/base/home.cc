#include "base/home.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "base/error.h"

namespace kiln {

std::filesystem::path home_folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value == nullptr ? "" : value);
  };
  if (const auto chosen = variable("KILN_HOME"); !chosen.empty()) return std::filesystem::absolute(chosen).lexically_normal();
  if (::geteuid() == 0) return "/var/lib/kiln";
  auto user = variable("HOME");
  if (user.empty()) {
    const passwd* entry = ::getpwuid(::getuid());
    if (entry == nullptr) fail("cannot tell where your home folder is: set HOME or KILN_HOME");
    user = entry->pw_dir;
  }
  return user / ".local/share/kiln";
}

}  // namespace kiln
