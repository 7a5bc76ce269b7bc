// The links of the credentials chain (credentials.h), each for itself: nothing where a source has nothing to say; Error where it is set up
// and does not give any.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "aws/client.h"
#include "aws/configuration.h"
#include "aws/credentials.h"
#include "aws/http.h"
#include "aws/retry.h"

namespace kiln::aws {

struct SourceContext {
  const Configuration& configuration;
  std::shared_ptr<Http> http;
  std::shared_ptr<RetryBudget> budget;
  std::shared_ptr<ClockOffset> clock;

  const Surroundings& surroundings() const { return configuration.surroundings(); }
  // For calls before there are credentials, or with others than the session's (`credentials` may be null).
  ClientContext client(const std::string& service, const std::string& region, const std::optional<Credentials>& credentials) const;
};

std::optional<Credentials> credentials_from_environment(const Surroundings& surroundings);

enum class KeysFile { kCredentials, kConfig };
// aws_access_key_id, aws_secret_access_key, aws_session_token of a profile.
std::optional<Credentials> credentials_from_keys(const SourceContext& context, const std::string& profile, KeysFile file);
// credential_process of a profile: a program that prints {"Version": 1, "AccessKeyId": …} (docs: "Process credential provider").
std::optional<Credentials> credentials_from_process(const SourceContext& context, const std::string& profile);

// sso_session or sso_start_url of a profile, with the token that `aws sso login` left in ~/.aws/sso/cache. A token that is about to expire
// is refreshed, when it can be, and saved for the AWS CLI (its refresh token may be good for one use only).
std::optional<Credentials> credentials_from_sso(const SourceContext& context, const std::string& profile);

struct Role {
  std::string arn, session_name, external_id;
  int duration_seconds = 0;  // 0: the role's own
};
// STS AssumeRole with `source`'s keys.
Credentials assume_role(const SourceContext& context, const Role& role, const Credentials& source);
// STS AssumeRoleWithWebIdentity with the token in a file: by AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN when `environment`, else the
// profile's.
std::optional<Credentials> credentials_from_web_identity(const SourceContext& context, const std::string& profile, bool environment);

// AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI.
std::optional<Credentials> credentials_from_container(const SourceContext& context);

// The instance metadata service, version 2 only.
class Metadata {
 public:
  explicit Metadata(const SourceContext& context) : context_(context) {}
  // The document at `path` ("/latest/meta-data/…"); nothing where there is none. HttpFailure when the service does not answer.
  std::optional<std::string> get(const std::string& path);
  bool is_disabled() const;
  std::string endpoint() const;

 private:
  HttpResponse ask(HttpRequest request) const;
  const SourceContext& context_;
  std::string token_;
};
// `why` says why there are none.
std::optional<Credentials> credentials_from_metadata(const SourceContext& context, std::string& why);

// All of them in their order. Error, with what was looked at and a hint, when there are none.
Credentials find_credentials(const SourceContext& context);

// Reads {"AccessKeyId": …, "SecretAccessKey": …, `token_name`: …, "Expiration": …} as programs and services give it; `what` for messages.
Credentials credentials_from_json(const Json& json, const char* token_name, const std::string& what);

}  // namespace kiln::aws
