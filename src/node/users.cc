#include "node/users.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

namespace kiln::node {

namespace {

std::optional<unsigned> number(const std::string& text) {
  unsigned value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || text.empty()) return {};
  return value;
}

}  // namespace

std::optional<User> find_user(const std::string& passwd, const std::string& group, const std::string& name) {
  std::optional<User> user;
  for (const auto& line : split(passwd, '\n')) {
    const auto parts = split(line, ':');
    if (parts.size() < 7 || (parts[0] != name && parts[2] != name)) continue;
    const auto uid = number(parts[2]), gid = number(parts[3]);
    if (!uid || !gid) continue;
    user = User{parts[0], *uid, *gid, {*gid}, parts[5].empty() ? "/" : parts[5], parts[6].empty() ? "/bin/sh" : parts[6]};
    break;
  }
  if (!user) return {};
  for (const auto& line : split(group, '\n')) {
    const auto parts = split(line, ':');
    if (parts.size() < 4) continue;
    const auto gid = number(parts[2]);
    const auto members = split(parts[3], ',');
    if (gid && *gid != user->gid && std::find(members.begin(), members.end(), user->name) != members.end()) user->groups.push_back(*gid);
  }
  return user;
}

User require_user(const Paths& paths, const std::string& name) {
  auto passwd = read_file_if_there(paths.etc("passwd"));
  auto group = read_file_if_there(paths.etc("group"));
  if (!passwd) {
    passwd = read_file_if_there("/etc/passwd");
    group = read_file_if_there("/etc/group");
  }
  if (auto user = find_user(passwd.value_or(""), group.value_or(""), name)) return *user;
  if (name == "root" || name == "0") return {};
  fail("no user '{}' on this node", name);
}

}  // namespace kiln::node
