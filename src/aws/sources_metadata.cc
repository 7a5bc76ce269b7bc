// Credentials of the machine or container that kiln runs on.
#include <algorithm>
#include <array>

#include "aws/credential_sources.h"
#include "base/files.h"
#include "base/strings.h"

namespace kiln::aws {

namespace {

constexpr const char* kContainerHost = "http://169.254.170.2";

// Plain HTTP only to this machine and to the addresses that ECS and EKS have for it: the answer is secret.
bool may_be_asked(const UrlParts& url) {
  if (url.scheme == "https") return true;
  static constexpr std::array kHosts{"169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", "localhost", "[::1]"};
  std::string host = url.host;
  const std::size_t colon = host.rfind(':');
  if (colon != std::string::npos && host.find(']', colon) == std::string::npos) host.resize(colon);
  const bool loopback = host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos;
  return loopback || std::find(kHosts.begin(), kHosts.end(), host) != kHosts.end();
}

std::optional<std::string> authorization(const SourceContext& context) {
  std::optional<std::string> token = context.surroundings().variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
  if (const auto file = context.surroundings().variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) token = read_file(*file);
  if (token && token->find_first_of("\r\n") != std::string::npos) fail("the container's authorization token has a line break");
  return token;
}

// Both services are on the machine or its host: what takes longer is not there. Three attempts bridge a service that is just starting.
HttpResponse ask_nearby(const SourceContext& context, const HttpRequest& request, int attempts) {
  for (int attempt = 1;; ++attempt) {
    try {
      HttpResponse response = context.http->send(request);
      if ((response.status < 500 && response.status != 429) || attempt >= attempts) return response;
    } catch (const HttpFailure&) {
      if (attempt >= attempts) throw;
    }
    context.surroundings().sleep(retry_pause(attempt, std::chrono::seconds(0), context.surroundings().random()));
  }
}

}  // namespace

std::optional<Credentials> credentials_from_container(const SourceContext& context) {
  const Surroundings& surroundings = context.surroundings();
  const auto relative = surroundings.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  const auto full = surroundings.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  if (!relative && !full) return std::nullopt;
  HttpRequest request;
  request.url = relative ? kContainerHost + *relative : *full;
  const std::string without_query = request.url.substr(0, request.url.find('?'));
  const auto url = parse_url(without_query);
  if (!url || !may_be_asked(*url)) {
    Error error(fmt::format("AWS_CONTAINER_CREDENTIALS_FULL_URI is '{}', which is not to be trusted with credentials", without_query));
    error.set_hint(
        "it must be https, or http to this machine or to the addresses of ECS and EKS (169.254.170.2, 169.254.170.23, fd00:ec2::23)");
    throw error;
  }
  request.proxy = url->scheme == "https";
  request.connect_timeout = std::chrono::seconds(2);
  request.stall_timeout = std::chrono::seconds(2);
  if (const auto token = authorization(context)) request.headers.emplace_back("Authorization", *token);
  const std::string what = fmt::format("the container's credentials ('{}')", without_query);
  return with_context("getting " + what, [&]() -> std::optional<Credentials> {
    const HttpResponse response = ask_nearby(context, request, 3);
    if (response.status != 200) fail("the server answered {}", response.status);
    const Json json = Json::parse(response.body, nullptr, false);
    if (!json.is_object()) fail("the answer is no JSON object");
    return credentials_from_json(json, "Token", what);
  });
}

bool Metadata::is_disabled() const {
  return to_lower(context_.surroundings().variable("AWS_EC2_METADATA_DISABLED").value_or("")) == "true";
}

std::string Metadata::endpoint() const {
  const Configuration& configuration = context_.configuration;
  if (auto own = configuration.setting("AWS_EC2_METADATA_SERVICE_ENDPOINT", "ec2_metadata_service_endpoint")) {
    while (own->ends_with('/')) own->pop_back();
    return *own;
  }
  const auto mode = configuration.setting("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ec2_metadata_service_endpoint_mode");
  return to_lower(mode.value_or("")) == "ipv6" ? "http://[fd00:ec2::254]" : "http://169.254.169.254";
}

HttpResponse Metadata::ask(HttpRequest request) const {
  const Configuration& configuration = context_.configuration;
  const int seconds = configuration.number("AWS_METADATA_SERVICE_TIMEOUT", "metadata_service_timeout", 1, 1);
  const int attempts = configuration.number("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "metadata_service_num_attempts", 1, 1);
  request.proxy = false;
  request.connect_timeout = std::chrono::seconds(seconds);
  request.stall_timeout = std::chrono::seconds(seconds);
  return ask_nearby(context_, request, attempts);
}

std::optional<std::string> Metadata::get(const std::string& path) {
  for (int round = 1; round <= 2; ++round) {
    if (token_.empty()) {
      HttpRequest put;
      put.method = "PUT";
      put.url = endpoint() + "/latest/api/token";
      put.headers = {{"x-aws-ec2-metadata-token-ttl-seconds", "21600"}};
      const HttpResponse answer = ask(put);
      if (answer.status != 200) return std::nullopt;
      token_ = std::string(trim(answer.body));
    }
    HttpRequest request;
    request.url = endpoint() + path;
    request.headers = {{"x-aws-ec2-metadata-token", token_}};
    const HttpResponse answer = ask(request);
    if (answer.status == 200) return answer.body;
    if (answer.status != 401) return std::nullopt;
    token_.clear();  // it has expired: once more
  }
  return std::nullopt;
}

std::optional<Credentials> credentials_from_metadata(const SourceContext& context, std::string& why) {
  Metadata metadata(context);
  if (metadata.is_disabled()) {
    why = "switched off by AWS_EC2_METADATA_DISABLED";
    return std::nullopt;
  }
  try {
    const std::string folder = "/latest/meta-data/iam/security-credentials/";
    const auto roles = metadata.get(folder);
    const std::string role(trim(split(roles.value_or(""), '\n').front()));
    if (role.empty()) {
      why = fmt::format("'{}' answers, but this instance has no role", metadata.endpoint());
      return std::nullopt;
    }
    const Json json = Json::parse(metadata.get(folder + role).value_or(""), nullptr, false);
    const std::string code = text(json, "Code");
    if (!json.is_object() || (!code.empty() && code != "Success")) {
      why = fmt::format("'{}' gives no credentials for role '{}'", metadata.endpoint(), role);
      return std::nullopt;
    }
    return credentials_from_json(json, "Token", fmt::format("this instance's role '{}'", role));
  } catch (const HttpFailure& failure) {
    why = fmt::format("'{}' does not answer ({})", metadata.endpoint(), failure.message());
    return std::nullopt;
  }
}

}  // namespace kiln::aws
