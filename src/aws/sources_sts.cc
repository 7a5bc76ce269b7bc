// Credentials that STS gives for others: roles, web identities.
#include "aws/credential_sources.h"
#include "aws/sts.h"
#include "base/files.h"
#include "base/strings.h"

namespace kiln::aws {

namespace {

// Where STS is asked: the session's region, else the partition's first one.
std::string sts_region(const SourceContext& context, const std::string& role_arn) {
  if (const auto region = context.configuration.region()) return region->value;
  const auto parts = split(role_arn, ':');
  if (parts.size() > 1 && parts[1] == "aws-cn") return partition_of("cn-north-1").global_region;
  if (parts.size() > 1 && parts[1] == "aws-us-gov") return partition_of("us-gov-west-1").global_region;
  return partition_of("us-east-1").global_region;
}

std::string session_name_or_own(const SourceContext& context, const std::string& name) {
  if (!name.empty()) return name;
  return fmt::format("kiln-{}", std::chrono::system_clock::to_time_t(context.surroundings().now()));
}

}  // namespace

Credentials assume_role(const SourceContext& context, const Role& role, const Credentials& source) {
  const std::string what = fmt::format("role '{}'", role.arn);
  return with_context(fmt::format("assuming {} with the credentials of {}", what, source.source), [&] {
    const Sts sts(context.client("sts", sts_region(context, role.arn), source));
    Json params{{"RoleArn", role.arn}, {"RoleSessionName", session_name_or_own(context, role.session_name)}};
    if (!role.external_id.empty()) params["ExternalId"] = role.external_id;
    if (role.duration_seconds > 0) params["DurationSeconds"] = role.duration_seconds;
    const Json answer = sts.call("AssumeRole", params);
    Credentials out = credentials_from_json(at(answer, "Credentials"), "SessionToken", what);
    out.source = fmt::format("{} over {}", what, source.source);
    return out;
  });
}

std::optional<Credentials> credentials_from_web_identity(const SourceContext& context, const std::string& profile, bool environment) {
  const Configuration& configuration = context.configuration;
  const auto value = [&](const char* variable, const char* name) {
    return environment ? configuration.setting(variable, name) : configuration.profiles().value(profile, name);
  };
  const auto file = value("AWS_WEB_IDENTITY_TOKEN_FILE", "web_identity_token_file");
  if (!file) return std::nullopt;
  const auto arn = value("AWS_ROLE_ARN", "role_arn");
  if (!arn) {
    Error error(fmt::format("a web identity's token is given ('{}') but no role", *file));
    error.set_hint(environment ? "set AWS_ROLE_ARN" : fmt::format("set role_arn in profile '{}'", profile));
    throw error;
  }
  const std::string what = fmt::format("role '{}' by web identity '{}'", *arn, *file);
  return with_context("assuming " + what, [&]() -> std::optional<Credentials> {
    // Read anew each time: whoever gives the token (Kubernetes) replaces it before it expires.
    const std::string token(trim(read_file(expand_path(context.surroundings(), *file))));
    const Sts sts(context.client("sts", sts_region(context, *arn), std::nullopt));
    const std::string name = value("AWS_ROLE_SESSION_NAME", "role_session_name").value_or("");
    const Json params{{"RoleArn", *arn}, {"RoleSessionName", session_name_or_own(context, name)}, {"WebIdentityToken", token}};
    const Json answer = sts.call("AssumeRoleWithWebIdentity", params);
    return credentials_from_json(at(answer, "Credentials"), "SessionToken", what);
  });
}

}  // namespace kiln::aws
