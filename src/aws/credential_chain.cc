// The order in which the sources are asked, and chains of roles.
#include <algorithm>
#include <charconv>

#include "aws/credential_sources.h"
#include "base/strings.h"

namespace kiln::aws {

namespace {

// What profiles give without another's help.
std::optional<Credentials> from_profile(const SourceContext& context, const std::string& profile) {
  if (auto found = credentials_from_sso(context, profile)) return found;
  if (auto found = credentials_from_keys(context, profile, KeysFile::kCredentials)) return found;
  if (auto found = credentials_from_process(context, profile)) return found;
  return credentials_from_keys(context, profile, KeysFile::kConfig);
}

bool has_role(const Profiles& profiles, const std::string& profile) {
  return profiles.value(profile, "role_arn").has_value() && !profiles.value(profile, "web_identity_token_file").has_value();
}

bool has_keys(const Profiles& profiles, const std::string& profile) {
  return profiles.value(profile, "aws_access_key_id") || profiles.value(profile, "aws_secret_access_key");
}

// `chain`: the profiles that led here, the first one first.
Credentials from_role(const SourceContext& context, std::vector<std::string> chain);

Credentials from_credential_source(const SourceContext& context, const std::string& profile, const std::string& source) {
  std::optional<Credentials> found;
  std::string why = "it gives none";
  if (source == "Environment")
    found = credentials_from_environment(context.surroundings());
  else if (source == "EcsContainer")
    found = credentials_from_container(context);
  else if (source == "Ec2InstanceMetadata")
    found = credentials_from_metadata(context, why);
  else
    fail("credential_source of profile '{}' is '{}'; it must be Environment, Ec2InstanceMetadata or EcsContainer", profile, source);
  if (!found) fail("profile '{}' takes its credentials from {}, but: {}", profile, source, why);
  return *found;
}

Credentials from_source_profile(const SourceContext& context, std::vector<std::string> chain, const std::string& source) {
  const Profiles& profiles = context.configuration.profiles();
  const std::string profile = chain.back();
  if (!profiles.has(source)) {
    Error error(fmt::format("profile '{}' has source_profile '{}', which is not there", profile, source));
    if (const auto near = nearest(source, profiles.names())) error.set_hint(fmt::format("did you mean '{}'?", *near));
    throw error;
  }
  const bool seen = std::find(chain.begin(), chain.end(), source) != chain.end();
  // A profile may be its own source: then its keys assume its role.
  if (seen && (source != profile || !has_keys(profiles, source)))
    fail("the source_profile settings go round: {} -> {}", join(chain, " -> "), source);
  if (!has_keys(profiles, source) && has_role(profiles, source)) {
    chain.push_back(source);
    return from_role(context, std::move(chain));
  }
  auto found = credentials_from_web_identity(context, source, false);
  if (!found) found = from_profile(context, source);
  if (!found) fail("profile '{}' has source_profile '{}', which has no credentials", profile, source);
  return *found;
}

Credentials from_role(const SourceContext& context, std::vector<std::string> chain) {
  const Profiles& profiles = context.configuration.profiles();
  const std::string profile = chain.back();
  const auto value = [&](const char* name) { return profiles.value(profile, name); };
  const auto source_profile = value("source_profile"), credential_source = value("credential_source");
  if (source_profile.has_value() == credential_source.has_value()) {
    Error error(fmt::format("profile '{}' has role_arn and {} source_profile {} credential_source", profile,
                            source_profile ? "both" : "neither", source_profile ? "and" : "nor"));
    error.set_hint("one of them must say whose credentials assume the role");
    throw error;
  }
  if (value("mfa_serial")) {
    Error error(fmt::format("profile '{}' wants a code from a device (mfa_serial), which kiln cannot ask for", profile));
    error.set_hint(fmt::format("eval \"$(aws configure export-credentials --profile {} --format env)\"", shell_quote(profile)));
    throw error;
  }
  Role role{*value("role_arn"), value("role_session_name").value_or(""), value("external_id").value_or("")};
  const std::string duration = value("duration_seconds").value_or("");
  std::from_chars(duration.data(), duration.data() + duration.size(), role.duration_seconds);
  const Credentials source =
      source_profile ? from_source_profile(context, chain, *source_profile) : from_credential_source(context, profile, *credential_source);
  return with_context(fmt::format("using profile '{}'", profile), [&] { return assume_role(context, role, source); });
}

[[noreturn]] void fail_without(const SourceContext& context, const std::string& why_no_metadata) {
  const Configuration& configuration = context.configuration;
  const Profiles& profiles = configuration.profiles();
  std::string looked = "no AWS credentials were found. Looked at:";
  if (configuration.profile_is_explicit())
    looked += "\n  environment: passed over, since a profile is named";
  else
    looked += "\n  environment: AWS_ACCESS_KEY_ID and AWS_WEB_IDENTITY_TOKEN_FILE are not set";
  if (profiles.has(configuration.profile()))
    looked += fmt::format("\n  profile '{}': has no credentials in '{}' or '{}'", configuration.profile(), profiles.credentials_file(),
                          profiles.config_file());
  else
    looked += fmt::format("\n  profile '{}': is not in '{}' or '{}'", configuration.profile(), profiles.credentials_file(),
                          profiles.config_file());
  looked += "\n  container: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and AWS_CONTAINER_CREDENTIALS_FULL_URI are not set";
  looked += "\n  instance metadata: " + why_no_metadata;
  Error error(looked);
  if (profiles.value(configuration.profile(), "login_session"))
    error.set_hint(fmt::format("kiln does not read `aws login`: eval \"$(aws configure export-credentials --profile {} --format env)\"",
                               shell_quote(configuration.profile())));
  else if (const auto names = profiles.names(); !names.empty() && !profiles.has(configuration.profile()))
    error.set_hint("choose a profile with AWS_PROFILE or --profile: " + join(names, ", "));
  else
    error.set_hint("`aws configure` or `aws configure sso` sets them up; AWS_PROFILE or --profile chooses a profile (docs/aws.md)");
  throw error;
}

}  // namespace

Credentials find_credentials(const SourceContext& context) {
  const Configuration& configuration = context.configuration;
  const std::string& profile = configuration.profile();
  const bool environment = !configuration.profile_is_explicit();
  if (environment) {
    if (auto found = credentials_from_environment(context.surroundings())) return *found;
  }
  if (has_role(configuration.profiles(), profile)) return from_role(context, {profile});
  if (auto found = credentials_from_web_identity(context, profile, environment)) return *found;
  if (auto found = from_profile(context, profile)) return *found;
  if (auto found = credentials_from_container(context)) return *found;
  std::string why;
  if (auto found = credentials_from_metadata(context, why)) return *found;
  fail_without(context, why);
}

}  // namespace kiln::aws
