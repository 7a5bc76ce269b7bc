// What `kiln doctor --on PLACE` checks. A place registers itself from a file of its own, as commands do.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/command.h"

namespace kiln::cli {

struct DoctorOptions {
  std::string profile, region;  // as the user named them; empty: as the place finds them
};

struct DoctorCheck {
  std::string name;
  bool ok = false;
  bool required = true;
  std::string found;
  std::string mend;  // what to do
};

// The table, what mends it, and exit code 1 when something required is missing.
Response doctor_response(const std::vector<DoctorCheck>& checks);

struct RegisterDoctorPlace {
  RegisterDoctorPlace(const std::string& name, std::function<Response(const DoctorOptions&)> check);
};

}  // namespace kiln::cli
