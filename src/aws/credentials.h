// Credentials as every AWS tool finds them. The chain, first that has something to say:
//
//   1. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN     (not when a profile is named by --profile)
//   2. the profile's role_arn over source_profile or credential_source
//   3. a web identity: AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN (not with --profile), or the profile's role_arn with
//      web_identity_token_file
//   4. the profile's sso_session or sso_start_url: the tokens that `aws sso login` left
//   5. the profile's static keys in the credentials file; its credential_process; its static keys in the config file
//   6. AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI (ECS, EKS pod identity)
//   7. the instance metadata service, IMDSv2 only
//
// The order is botocore's, the library of the AWS CLI (docs: "Configuration and credential precedence").
// What expires is fetched anew before it does. Nothing of it is written anywhere, but for the SSO token, whose file belongs to the AWS
// CLI and whose refresh token may work only once. No message holds a secret.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "aws/surroundings.h"

namespace kiln::aws {

struct Credentials {
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;    // empty for long-term keys
  std::optional<Time> expires;  // none: they don't
  std::string source;           // for people: "profile 'dev' (role arn:…) over profile 'base' ('/home/me/.aws/credentials')"

  bool same_keys(const Credentials& other) const {
    return access_key_id == other.access_key_id && secret_access_key == other.secret_access_key && session_token == other.session_token;
  }
};

// `text` with every secret part of `credentials` replaced by "***": for words that come from a server or a program.
std::string without_secrets(std::string text, const Credentials& credentials);

// A place that credentials come from, asked again when they are about to expire. Thread-safe: one thread fetches, the others wait.
class CredentialsCache {
 public:
  using Fetch = std::function<Credentials()>;
  CredentialsCache(Fetch fetch, Surroundings surroundings) : fetch_(std::move(fetch)), surroundings_(std::move(surroundings)) {}

  // Those that are good for a while: fetched anew when less than 15 minutes are left (or a quarter of their life, where that is less).
  // When that fails, the old ones serve until they really expire; another attempt is made at most once a minute.
  // Throws Error, with a hint, when there are none.
  Credentials get();
  // A server has refused `refused` as expired: fetches others, unless another thread has. True when they differ from `refused`.
  bool refresh(const Credentials& refused);

 private:
  bool due(Time now) const;
  void fetch_now(Time now);
  Fetch fetch_;
  Surroundings surroundings_;
  std::mutex lock_;
  std::optional<Credentials> current_;
  Time fetched_{}, tried_{};
};

}  // namespace kiln::aws
