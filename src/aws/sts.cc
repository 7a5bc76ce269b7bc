#include "aws/sts.h"

#include "aws/query.h"

namespace kiln::aws {

Sts::Sts(const Session& session) : client_(session.client("sts")) {}

Sts::Sts(ClientContext context) : client_(std::move(context)) {}

Json Sts::call(const std::string& operation, const Json& params, const CallOptions& options) const {
  return query_call(client_, operation, "2011-06-15", params, QueryLists::kMember, options);
}

CallerIdentity Sts::caller_identity() const {
  const Json answer = call("GetCallerIdentity");
  return {required_text(answer, "Account"), required_text(answer, "Arn"), text(answer, "UserId")};
}

std::string Sts::decode_authorization_message(const std::string& encoded) const {
  return required_text(call("DecodeAuthorizationMessage", Json::object({{"EncodedMessage", encoded}})), "DecodedMessage");
}

}  // namespace kiln::aws
