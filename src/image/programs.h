// Programs of others that a target is made by.
#pragma once

#include <string>
#include <vector>

namespace kiln::image {

struct Program {
  std::string name;
  std::string package;  // Debian's
};
// Error naming the first that is not installed, with the command that installs all that are missing as the hint.
void require_programs(const std::vector<Program>& programs, const std::string& what_for);

}  // namespace kiln::image
