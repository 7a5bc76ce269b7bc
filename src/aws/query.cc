#include "aws/query.h"

#include "base/strings.h"

namespace kiln::aws {

namespace {

void append(std::string& form, const std::string& name, const Json& value, QueryLists lists) {
  if (value.is_null()) return;
  if (value.is_object()) {
    for (const auto& [key, inner] : value.items()) append(form, name.empty() ? key : name + "." + key, inner, lists);
    return;
  }
  if (value.is_array()) {
    const std::string prefix = lists == QueryLists::kMember ? name + ".member." : name + ".";
    // An empty list is said by the name alone; left out it would mean "as before".
    if (value.empty()) form += "&" + percent_encode(name) + "=";
    for (std::size_t i = 0; i < value.size(); ++i) append(form, prefix + std::to_string(i + 1), value[i], lists);
    return;
  }
  const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  form += "&" + percent_encode(name) + "=" + percent_encode(text);
}

}  // namespace

std::string query_form(const std::string& operation, const std::string& version, const Json& params, QueryLists lists) {
  if (!params.is_object() && !params.is_null()) fail("the parameters of {} are no object", operation);
  std::string form = "Action=" + percent_encode(operation) + "&Version=" + percent_encode(version);
  append(form, "", params, lists);
  return form;
}

Json query_call(const Client& client, const std::string& operation, const std::string& version, const Json& params, QueryLists lists,
                const CallOptions& options) {
  const std::string form = query_form(operation, version, params, lists);
  Json answer;
  ServiceRequest request;
  request.operation = operation;
  request.headers = {{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}};
  request.body = form;
  request.may_repeat = options.repeat == Repeat::kByName ? is_repeatable(operation, params) : options.repeat == Repeat::kAlways;
  request.read = [&](const HttpResponse& response) { answer = xml_to_json(response.body); };
  client.send(request);
  const std::string result = operation + "Result";
  if (lists == QueryLists::kMember && answer.is_object() && answer.contains(result)) {
    Json inner = std::move(answer[result]);
    answer = std::move(inner);
  }
  return answer.is_null() ? Json::object() : answer;
}

}  // namespace kiln::aws
