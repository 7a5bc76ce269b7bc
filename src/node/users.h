// Users of the image, from its /etc/passwd and /etc/group read by hand: getpwnam in a static program would load the image's own C library.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "node/paths.h"

namespace kiln::node {

struct User {
  std::string name = "root";
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // all of them, the primary too
  std::string home = "/root";
  std::string shell = "/bin/sh";
};

// By name or number. Broken lines are skipped.
std::optional<User> find_user(const std::string& passwd, const std::string& group, const std::string& name);
// From the node's files. Error "no user 'x' on this node".
User require_user(const Paths& paths, const std::string& name);

}  // namespace kiln::node
