// Credentials of IAM Identity Center (SSO), with the tokens that `aws sso login` keeps in ~/.aws/sso/cache.
#include <openssl/evp.h>

#include <array>

#include "aws/credential_sources.h"
#include "base/files.h"
#include "base/strings.h"

namespace kiln::aws {

namespace {

struct SsoSettings {
  std::string profile, session, start_url, region, account, role;
  Error not_logged_in(const std::string& why) const {
    Error error(fmt::format("profile '{}' uses SSO, but {}", profile, why));
    error.set_hint(session.empty() ? "aws sso login --profile " + profile : "aws sso login --sso-session " + session);
    return error;
  }
};

// The names of the cache's files are SHA-1 sums of the session's name, or of the start URL where there is no session.
std::string sha1_hex(const std::string& text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned int length = 0;
  if (EVP_Digest(text.data(), text.size(), out.data(), &length, EVP_sha1(), nullptr) != 1) fail("OpenSSL refuses SHA-1");
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) hex += fmt::format("{:02x}", out[i]);
  return hex;
}

std::optional<SsoSettings> settings_of(const SourceContext& context, const std::string& profile) {
  const Profiles& profiles = context.configuration.profiles();
  const auto own = [&](const char* name) { return profiles.value(profile, name).value_or(""); };
  SsoSettings out{profile, own("sso_session"), own("sso_start_url"), own("sso_region"), own("sso_account_id"), own("sso_role_name")};
  if (out.account.empty() && out.role.empty()) return std::nullopt;
  if (!out.session.empty()) {
    if (!profiles.has_sso_session(out.session))
      fail("profile '{}' in '{}' names [sso-session {}], which is not there", profile, profiles.config_file(), out.session);
    if (out.start_url.empty()) out.start_url = profiles.sso_value(out.session, "sso_start_url").value_or("");
    if (out.region.empty()) out.region = profiles.sso_value(out.session, "sso_region").value_or("");
  }
  for (const auto& [name, value] : {std::pair("sso_start_url", out.start_url), std::pair("sso_region", out.region),
                                    std::pair("sso_account_id", out.account), std::pair("sso_role_name", out.role)}) {
    if (!value.empty()) continue;
    Error error(fmt::format("profile '{}' in '{}' uses SSO, but lacks {}", profile, profiles.config_file(), name));
    error.set_hint("`aws configure sso` writes such profiles");
    throw error;
  }
  return out;
}

// The token's file as Json with accessToken, expiresAt and, where it can be refreshed, refreshToken, clientId, clientSecret.
Json read_token(const SsoSettings& settings, const std::string& path) {
  const auto content = read_file_if_there(path);
  if (!content) throw settings.not_logged_in("nobody has logged in");
  Json token = Json::parse(*content, nullptr, false);
  if (!token.is_object() || text(token, "accessToken").empty() || !parse_iso_time(text(token, "expiresAt")))
    throw settings.not_logged_in(fmt::format("the token in '{}' cannot be read", path));
  return token;
}

bool can_refresh(const Json& token, Time now) {
  for (const char* name : {"refreshToken", "clientId", "clientSecret"}) {
    if (text(token, name).empty()) return false;
  }
  const auto registered_until = parse_iso_time(text(token, "registrationExpiresAt"));
  return registered_until && *registered_until > now;
}

// OIDC CreateToken. False when the server refuses.
bool refresh_token(const SourceContext& context, const SsoSettings& settings, Json& token) {
  const Client client(context.client("sso_oidc", settings.region, std::nullopt));
  const std::string body = Json{{"clientId", text(token, "clientId")},
                                {"clientSecret", text(token, "clientSecret")},
                                {"grantType", "refresh_token"},
                                {"refreshToken", text(token, "refreshToken")}}
                               .dump();
  ServiceRequest request;
  request.operation = "CreateToken";
  request.path = "/token";
  request.headers = {{"Content-Type", "application/json"}};
  request.body = body;
  Json answer;
  request.read = [&](const HttpResponse& response) { answer = Json::parse(response.body, nullptr, false); };
  try {
    client.send(request);
  } catch (const ApiError&) {
    return false;
  }
  const auto life = integer(answer, "expiresIn");
  if (text(answer, "accessToken").empty() || !life) return false;
  token["accessToken"] = text(answer, "accessToken");
  token["expiresAt"] = iso_time(context.surroundings().now() + std::chrono::seconds(*life));
  if (!text(answer, "refreshToken").empty()) token["refreshToken"] = text(answer, "refreshToken");
  return true;
}

std::string access_token(const SourceContext& context, const SsoSettings& settings) {
  const std::string name = sha1_hex(settings.session.empty() ? settings.start_url : settings.session) + ".json";
  const std::string path = expand_path(context.surroundings(), "~/.aws/sso/cache/" + name);
  Json token = read_token(settings, path);
  constexpr std::chrono::minutes kMargin{15};
  const Time now = context.surroundings().now();
  const auto expires = parse_iso_time(text(token, "expiresAt"));
  if (*expires - now < kMargin && !settings.session.empty() && can_refresh(token, now) && refresh_token(context, settings, token)) {
    write_file_atomically(path, token.dump(), 0600);
  } else if (*expires <= now) {
    throw settings.not_logged_in("the login has expired");
  }
  return text(token, "accessToken");
}

}  // namespace

std::optional<Credentials> credentials_from_sso(const SourceContext& context, const std::string& profile) {
  const auto settings = settings_of(context, profile);
  if (!settings) return std::nullopt;
  const std::string token = access_token(context, *settings);
  const Client client(context.client("sso", settings->region, std::nullopt));
  ServiceRequest request;
  request.operation = "GetRoleCredentials";
  request.method = "GET";
  request.path = "/federation/credentials";
  request.query = "account_id=" + percent_encode(settings->account) + "&role_name=" + percent_encode(settings->role);
  request.headers = {{"x-amz-sso_bearer_token", token}};
  request.may_repeat = true;
  Json answer;
  request.read = [&](const HttpResponse& response) { answer = Json::parse(response.body, nullptr, false); };
  try {
    client.send(request);
  } catch (const ApiError& error) {
    if (error.status() == 401) throw settings->not_logged_in("the login is no longer valid");
    throw;
  }
  Credentials out;
  out.source = fmt::format("profile '{}' (SSO: role '{}' of account {})", profile, settings->role, settings->account);
  out.access_key_id = required_text(answer, "roleCredentials/accessKeyId");
  out.secret_access_key = required_text(answer, "roleCredentials/secretAccessKey");
  out.session_token = text(answer, "roleCredentials/sessionToken");
  if (const auto milliseconds = integer(answer, "roleCredentials/expiration")) out.expires = Time(std::chrono::milliseconds(*milliseconds));
  return out;
}

}  // namespace kiln::aws
