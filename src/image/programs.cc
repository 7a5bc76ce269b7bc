#include "image/programs.h"

#include <set>

#include "base/error.h"
#include "base/process.h"
#include "base/strings.h"

namespace kiln::image {

void require_programs(const std::vector<Program>& programs, const std::string& what_for) {
  std::string first;
  std::set<std::string> packages;
  for (const auto& program : programs) {
    if (find_program(program.name)) continue;
    if (first.empty()) first = program.name;
    packages.insert(program.package);
  }
  if (first.empty()) return;
  Error error(fmt::format("'{}' is not installed; {} is made by it", first, what_for));
  error.set_hint("sudo apt-get install " + join({packages.begin(), packages.end()}, " "));
  throw error;
}

}  // namespace kiln::image
