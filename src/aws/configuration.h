// What the environment and the profile in use say, one over the other: the region, endpoints, limits.
#pragma once

#include <optional>
#include <string>

#include "aws/endpoints.h"
#include "aws/profiles.h"
#include "aws/surroundings.h"

namespace kiln::aws {

class Configuration {
 public:
  // `profile`, `region`: as the user named them, or empty. UsageError for a named profile that is in neither file.
  Configuration(const Surroundings& surroundings, const std::string& profile, const std::string& region);

  const Surroundings& surroundings() const { return surroundings_; }
  const Profiles& profiles() const { return profiles_; }
  const std::string& profile() const { return profile_; }
  // Named by the user for this run, not by a variable: then variables with credentials don't count.
  bool profile_is_explicit() const { return explicit_; }

  // The environment variable's value, else the profile's setting.
  std::optional<std::string> setting(const char* variable, const char* name) const;
  // A setting that is "true".
  bool is_set(const char* variable, const char* name) const;
  // A whole number from `least` up; `fallback` where it is neither set nor such.
  int number(const char* variable, const char* name, int least, int fallback) const;

  struct Found {
    std::string value, source;
  };
  std::optional<Found> region() const;
  // Where requests of `service` go: one's own endpoint, else AWS's.
  Endpoint endpoint(const std::string& service, const std::string& region) const;

 private:
  std::optional<Found> own_endpoint(const std::string& service) const;
  Surroundings surroundings_;
  Profiles profiles_;
  std::string profile_, region_;
  bool explicit_ = false;
};

}  // namespace kiln::aws
