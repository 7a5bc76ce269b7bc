// Credentials that this machine has: environment, files, programs.
#include "aws/credential_sources.h"
#include "base/process.h"
#include "base/strings.h"

namespace kiln::aws {

namespace {

Error incomplete(const std::string& where, const std::string& has, const std::string& lacks) {
  return Error(fmt::format("{} has {} but no {}", where, has, lacks));
}

}  // namespace

ClientContext SourceContext::client(const std::string& service, const std::string& region,
                                    const std::optional<Credentials>& credentials) const {
  ClientContext out;
  out.service = service;
  out.region = region;
  out.endpoint = configuration.endpoint(service, region);
  if (credentials)
    out.credentials = std::make_shared<CredentialsCache>([keys = *credentials] { return keys; }, configuration.surroundings());
  out.http = http;
  out.budget = budget;
  out.clock = clock;
  out.surroundings = configuration.surroundings();
  out.max_attempts = configuration.number("AWS_MAX_ATTEMPTS", "max_attempts", 1, kDefaultMaxAttempts);
  return out;
}

std::optional<Credentials> credentials_from_environment(const Surroundings& surroundings) {
  const auto key = surroundings.variable("AWS_ACCESS_KEY_ID");
  if (!key) return std::nullopt;
  const auto secret = surroundings.variable("AWS_SECRET_ACCESS_KEY");
  if (!secret) throw incomplete("the environment", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
  Credentials out{*key, *secret, surroundings.variable("AWS_SESSION_TOKEN").value_or(""), std::nullopt, "environment variables"};
  if (const auto expires = surroundings.variable("AWS_CREDENTIAL_EXPIRATION")) out.expires = parse_iso_time(*expires);
  return out;
}

std::optional<Credentials> credentials_from_keys(const SourceContext& context, const std::string& profile, KeysFile file) {
  const Profiles& profiles = context.configuration.profiles();
  const bool first = file == KeysFile::kCredentials;
  const auto value = [&](const char* name) {
    return first ? profiles.credentials_value(profile, name) : profiles.config_value(profile, name);
  };
  const std::string where = fmt::format("profile '{}' in '{}'", profile, first ? profiles.credentials_file() : profiles.config_file());
  const auto key = value("aws_access_key_id");
  if (!key) return std::nullopt;
  const auto secret = value("aws_secret_access_key");
  if (!secret) throw incomplete(where, "aws_access_key_id", "aws_secret_access_key");
  auto token = value("aws_session_token");
  if (!token) token = value("aws_security_token");  // its name in boto 2
  return Credentials{*key, *secret, token.value_or(""), std::nullopt, where};
}

Credentials credentials_from_json(const Json& json, const char* token_name, const std::string& what) {
  Credentials out;
  const auto need = [&](const char* name) {
    std::string value = text(json, name);
    if (value.empty()) fail("{} gave no {}", what, name);
    return value;
  };
  out.access_key_id = need("AccessKeyId");
  out.secret_access_key = need("SecretAccessKey");
  out.session_token = text(json, token_name);
  const std::string expires = text(json, "Expiration");
  if (!expires.empty()) {
    out.expires = parse_iso_time(expires);
    if (!out.expires) fail("{} gave an Expiration that is no time (ISO 8601): '{}'", what, expires.substr(0, 40));
  }
  out.source = what;
  return out;
}

std::optional<Credentials> credentials_from_process(const SourceContext& context, const std::string& profile) {
  const auto command = context.configuration.profiles().value(profile, "credential_process");
  if (!command) return std::nullopt;
  const auto words = split_words(*command);
  if (!words || words->empty()) fail("credential_process of profile '{}' is no command: a quote is not closed", profile);
  // Of the command only the program is told: its options may hold secrets, and so may what it says when it fails.
  const std::string what = fmt::format("credential_process of profile '{}' ('{}')", profile, words->front());
  constexpr std::chrono::minutes kLongest{2};  // it may ask people for a code
  ProcessOptions options;
  options.timeout = kLongest;
  ProcessResult result;
  try {
    result = run(*words, options);
  } catch (const Interrupted&) {
    throw;
  } catch (const TimedOut&) {
    fail("{} did not end within {} minutes", what, kLongest.count());
  } catch (const Error&) {
    fail("{} cannot be started", what);
  }
  if (!result.ok()) {
    Error error(fmt::format("{} failed with exit code {}", what, result.exit_code));
    error.set_hint("run it by hand to see why; kiln does not repeat what it says, since it may be secret");
    throw error;
  }
  const Json json = Json::parse(result.output, nullptr, false);
  if (!json.is_object()) fail("{} printed no JSON object", what);
  if (integer(json, "Version") != 1) fail("{} printed no \"Version\": 1, the only one that there is", what);
  return credentials_from_json(json, "SessionToken", what);
}

}  // namespace kiln::aws
