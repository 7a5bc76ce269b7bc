// STS, API version 2011-06-15.
#pragma once

#include <string>

#include "aws/client.h"

namespace kiln::aws {

struct CallerIdentity {
  std::string account;  // twelve digits
  std::string arn;
  std::string user_id;
};

class Sts {
 public:
  explicit Sts(const Session& session);
  explicit Sts(ClientContext context);
  Json call(const std::string& operation, const Json& params = Json::object(), const CallOptions& options = {}) const;
  // Who we are; needs no permission.
  CallerIdentity caller_identity() const;
  // What an UnauthorizedOperation's encoded message says: JSON. Needs sts:DecodeAuthorizationMessage.
  std::string decode_authorization_message(const std::string& encoded) const;

 private:
  Client client_;
};

}  // namespace kiln::aws
