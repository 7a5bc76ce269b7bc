#include "bake/lent_files.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>

#include "base/files.h"

namespace kiln::bake {

namespace {

fs::path home_of_user() {
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') return home;
  const passwd* user = ::getpwuid(::geteuid());
  return user != nullptr ? user->pw_dir : "/root";
}

}  // namespace

std::map<std::string, fs::path> lent_files() {
  const fs::path home = home_of_user();
  const std::map<std::string, fs::path> all = {
      {"root/.m2/settings.xml", home / ".m2/settings.xml"},
      {"root/.m2/settings-security.xml", home / ".m2/settings-security.xml"},
      {"etc/maven/settings.xml", "/etc/maven/settings.xml"},
      {"root/.config/pip/pip.conf", home / ".config/pip/pip.conf"},
      {"root/.pip/pip.conf", home / ".pip/pip.conf"},
      {"etc/pip.conf", "/etc/pip.conf"},
      {"etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-certificates.crt"},
      {"etc/ssl/certs/java/cacerts", "/etc/ssl/certs/java/cacerts"},
  };
  std::map<std::string, fs::path> there;
  for (const auto& [path, file] : all) {
    std::error_code error;
    if (fs::is_regular_file(file, error) && ::access(file.c_str(), R_OK) == 0) there[path] = file;
  }
  return there;
}

}  // namespace kiln::bake
