#include "aws/configuration.h"

#include <charconv>

#include "base/error.h"
#include "base/strings.h"

namespace kiln::aws {

Configuration::Configuration(const Surroundings& surroundings, const std::string& profile, const std::string& region)
    : surroundings_(surroundings),
      profiles_(Profiles::load(surroundings)),
      profile_(profile),
      region_(region),
      explicit_(!profile.empty()) {
  std::string named_by = "--profile";
  for (const char* variable : {"AWS_PROFILE", "AWS_DEFAULT_PROFILE"}) {
    if (!profile_.empty()) break;
    profile_ = surroundings_.variable(variable).value_or("");
    named_by = variable;
  }
  if (profile_.empty()) {
    profile_ = "default";
  } else if (!profiles_.has(profile_)) {
    UsageError error(fmt::format("there is no AWS profile '{}' in '{}' or '{}' ({})", profile_, profiles_.config_file(),
                                 profiles_.credentials_file(), named_by));
    const auto names = profiles_.names();
    const auto near = nearest(profile_, names);
    error.set_hint(near            ? fmt::format("did you mean '{}'?", *near)
                   : names.empty() ? "`aws configure --profile NAME` makes one"
                                   : "there are: " + join(names, ", "));
    throw error;
  }
}

std::optional<std::string> Configuration::setting(const char* variable, const char* name) const {
  if (auto value = surroundings_.variable(variable)) return value;
  return profiles_.value(profile_, name);
}

bool Configuration::is_set(const char* variable, const char* name) const {
  return to_lower(setting(variable, name).value_or("")) == "true";
}

int Configuration::number(const char* variable, const char* name, int least, int fallback) const {
  const std::string text = setting(variable, name).value_or("");
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= least ? value : fallback;
}

std::optional<Configuration::Found> Configuration::region() const {
  if (!region_.empty()) return Found{region_, "--region"};
  for (const char* variable : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
    if (auto value = surroundings_.variable(variable)) return Found{*value, variable};
  }
  if (auto value = profiles_.value(profile_, "region")) return Found{*value, fmt::format("profile '{}'", profile_)};
  return std::nullopt;
}

std::optional<Configuration::Found> Configuration::own_endpoint(const std::string& service) const {
  if (is_set("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls")) return std::nullopt;
  std::string upper;
  for (const char letter : service) upper += letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
  for (const std::string& variable : {"AWS_ENDPOINT_URL_" + upper, std::string("AWS_ENDPOINT_URL")}) {
    if (auto value = surroundings_.variable(variable)) return Found{*value, variable};
  }
  if (const auto services = profiles_.value(profile_, "services")) {
    if (!profiles_.has_services(*services))
      fail("profile '{}' in '{}' names [services {}], which is not there", profile_, profiles_.config_file(), *services);
    if (auto value = profiles_.service_value(*services, service, "endpoint_url"))
      return Found{*value, fmt::format("[services {}] in '{}'", *services, profiles_.config_file())};
  }
  if (auto value = profiles_.value(profile_, "endpoint_url")) return Found{*value, fmt::format("endpoint_url of profile '{}'", profile_)};
  return std::nullopt;
}

Endpoint Configuration::endpoint(const std::string& service, const std::string& region) const {
  auto own = own_endpoint(service);
  EndpointVariant variant{is_set("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint"),
                          is_set("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")};
  if (own) variant = {};  // it is what it is
  Endpoint endpoint = standard_endpoint(service, region, variant);
  if (own) {
    while (own->value.ends_with('/')) own->value.pop_back();
    endpoint.url = own->value;
    endpoint.custom = true;
    endpoint.signing_region = region;  // also IAM's
    endpoint.source = own->source;
  }
  return endpoint;
}

}  // namespace kiln::aws
