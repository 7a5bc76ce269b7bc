#include "aws/ssm.h"

namespace kiln::aws {

Ssm::Ssm(const Session& session) : client_(session.client("ssm")) {}

Json Ssm::call(const std::string& operation, const Json& params, const CallOptions& options) const {
  const std::string body = params.is_null() ? "{}" : params.dump();
  ServiceRequest request;
  request.operation = operation;
  request.headers = {{"Content-Type", "application/x-amz-json-1.1"}, {"X-Amz-Target", "AmazonSSM." + operation}};
  request.body = body;
  request.may_repeat = options.repeat == Repeat::kByName ? is_repeatable(operation, params) : options.repeat == Repeat::kAlways;
  Json answer = Json::object();
  request.read = [&](const HttpResponse& response) {
    if (response.body.empty()) return;
    answer = Json::parse(response.body, nullptr, false);
    if (!answer.is_object()) fail("the answer is no JSON object");
  };
  client_.send(request);
  return answer;
}

std::vector<Json> Ssm::call_all(const std::string& operation, const Json& params, std::string_view item_path) const {
  return all_pages([&](const Json& page) { return call(operation, page); }, params, item_path, {"NextToken", "NextToken"});
}

std::optional<std::string> Ssm::parameter(const std::string& name) const {
  try {
    return required_text(call("GetParameter", Json::object({{"Name", name}, {"WithDecryption", true}})), "Parameter/Value");
  } catch (const ApiError& error) {
    if (error.code() == "ParameterNotFound" || error.code() == "ParameterVersionNotFound") return std::nullopt;
    throw;
  }
}

}  // namespace kiln::aws
