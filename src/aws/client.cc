#include "aws/client.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "aws/retry.h"
#include "aws/sigv4.h"
#include "base/hash.h"
#include "base/strings.h"

namespace kiln::aws {

std::string client_token(std::string_view seed) { return seed.empty() ? random_hex(16) : sha256_hex(seed).substr(0, 32); }

bool is_repeatable(const std::string& operation, const Json& params) {
  for (const char* token : {"ClientToken", "ClientRequestToken", "clientToken"}) {
    if (params.is_object() && params.contains(token)) return true;
  }
  // Said twice these say the same, or the second time is refused since the first has done it ("…NotFound", "….Duplicate").
  static constexpr std::array<std::string_view, 25> kVerbs{
      "Describe",  "Get",    "List",   "Head",    "Lookup", "Search",     "Decode", "Delete", "Terminate",     "Deregister",
      "Modify",    "Put",    "Set",    "Reset",   "Update", "CreateTags", "Tag",    "Untag",  "StopInstances", "StartInstances",
      "Authorize", "Revoke", "Enable", "Disable", "Assume"};
  return std::any_of(kVerbs.begin(), kVerbs.end(), [&](std::string_view verb) { return operation.starts_with(verb); });
}

namespace {

// Error documents: <Error>, or <Errors><Error>, at most two levels down.
const Json* find_error(const Json& answer, int depth = 0) {
  if (!answer.is_object() || depth > 2) return nullptr;
  if (answer.contains("Code")) return &answer;
  for (const char* name : {"Error", "Errors"}) {
    const auto found = answer.find(name);
    if (found == answer.end()) continue;
    const Json& inner = found->is_array() && !found->empty() ? found->front() : *found;
    if (const Json* error = find_error(inner, depth + 1)) return error;
  }
  return nullptr;
}

void read_xml_error(const std::string& body, ErrorAnswer& out) {
  const Json answer = xml_to_json(body);
  const Json* error = find_error(answer);
  if (error == nullptr) return;
  out.code = text(*error, "Code");
  out.message = text(*error, "Message");
  for (const char* name : {"RequestId", "RequestID"}) {
    if (out.request_id.empty()) out.request_id = text(answer, name);
  }
}

void read_json_error(const HttpResponse& response, ErrorAnswer& out) {
  const Json answer = Json::parse(response.body, nullptr, false);
  out.code = response.header("x-amzn-errortype");
  for (const char* name : {"__type", "code", "Code"}) {
    if (out.code.empty()) out.code = text(answer, name);
  }
  // "com.amazonaws.ssm#ParameterNotFound", "ValidationException:http://…"
  out.code = out.code.substr(0, out.code.find(':'));
  if (const std::size_t hash = out.code.rfind('#'); hash != std::string::npos) out.code = out.code.substr(hash + 1);
  for (const char* name : {"message", "Message", "errorMessage"}) {
    if (out.message.empty()) out.message = text(answer, name);
  }
}

// What a person can read of it: one line, no control characters, and not the canonical request that some errors repeat (it has the token).
std::string readable(std::string message) {
  for (const char* mark : {"The Canonical String for this request should have been", "Canonical String"}) {
    message = message.substr(0, message.find(mark));
  }
  for (char& letter : message) {
    if (static_cast<unsigned char>(letter) < 0x20 || letter == 0x7f) letter = ' ';
  }
  constexpr std::size_t kLongest = 4000;  // an encoded authorization message has 1 to 2 KB
  if (message.size() > kLongest) message = message.substr(0, kLongest) + "…";
  return std::string(trim(message));
}

bool has_status_in(int status, std::initializer_list<int> list) { return std::find(list.begin(), list.end(), status) != list.end(); }

}  // namespace

ErrorAnswer read_error(const HttpResponse& response) {
  ErrorAnswer out;
  const std::string_view body = trim(response.body);
  try {
    if (body.starts_with('<'))
      read_xml_error(std::string(body), out);
    else
      read_json_error(response, out);
  } catch (const std::exception&) {
    // A proxy's page, or a cut answer: the status has to do.
  }
  for (const char* name : {"x-amzn-requestid", "x-amz-request-id", "x-amzn-request-id"}) {
    if (out.request_id.empty()) out.request_id = response.header(name);
  }
  if (out.code.empty()) {
    out.code = fmt::format("Http{}", response.status);
    if (out.message.empty()) out.message = std::string(body.substr(0, 200));
  }
  out.code = valid_utf8(readable(out.code).substr(0, 100));
  out.message = valid_utf8(readable(out.message));
  out.request_id = valid_utf8(readable(out.request_id).substr(0, 100));
  return out;
}

struct Client::Attempt {
  std::optional<HttpResponse> response;  // a good one
  ApiFailure failure;
  bool repeat = false;          // trying again may help, and is allowed
  int most_attempts = 1 << 30;  // where fewer attempts tell enough
  int cost = RetryBudget::kRetryCost;
  std::chrono::seconds retry_after{0};
  std::optional<std::chrono::seconds> clock_ahead;  // AWS's clock against the one that signed
};

HttpRequest Client::signed_request(const ServiceRequest& request, const std::optional<Credentials>& credentials, Time time) const {
  const auto url = parse_url(context_.endpoint.url);
  if (!url) {
    UsageError error(fmt::format("'{}' is no URL of an endpoint", context_.endpoint.url));
    if (!context_.endpoint.source.empty())
      error.set_hint("it comes from " + context_.endpoint.source + "; it must be http://HOST or https://HOST");
    throw error;
  }
  HttpRequest out;
  const std::string path = url->path + request.path;
  out.method = request.method;
  out.url = url->scheme + "://" + url->host + path + (request.query.empty() ? "" : "?" + request.query);
  out.headers = request.headers;
  out.body = request.body;
  out.may_repeat = request.may_repeat;
  if (!credentials) return out;
  const SigningInput input{request.method,
                           url->host,
                           path,
                           request.query,
                           request.headers,
                           !request.body_sha256.empty() ? request.body_sha256
                           : request.body.empty()       ? kEmptySha256
                                                        : sha256_hex(request.body)};
  const SigningScope scope{context_.endpoint.signing_region, context_.endpoint.signing_name, time, context_.service == "s3",
                           request.sign_body_header};
  for (auto& header : sign(input, scope, *credentials)) out.headers.push_back(std::move(header));
  return out;
}

Client::Attempt Client::try_once(const ServiceRequest& request, const std::optional<Credentials>& credentials,
                                 std::initializer_list<int> also_fine) const {
  Attempt out;
  out.failure.service = context_.service;
  out.failure.operation = request.operation;
  out.failure.region = context_.region;
  out.failure.credentials_source = credentials ? credentials->source : "none";
  const Time time = context_.surroundings.now() + std::chrono::seconds(context_.clock->seconds);
  const auto no_answer = [&](const Error& error, bool was_sent) {
    out.failure.code = "NoAnswer";
    out.failure.message = fmt::format("{}: {}", context_.endpoint.url, error.message());
    out.failure.may_have_acted = was_sent;
    out.repeat = !was_sent || request.may_repeat;
  };
  const HttpRequest signed_one = signed_request(request, credentials, time);
  HttpResponse response;
  try {
    response = context_.http->send(signed_one);
    if ((response.status >= 200 && response.status < 300) || has_status_in(response.status, also_fine)) {
      if (request.read) request.read(response);
      out.response = std::move(response);
      return out;
    }
  } catch (const HttpFailure& failure) {
    no_answer(failure, failure.stage() == HttpFailure::Stage::kSent);
    if (failure.timed_out()) out.cost = RetryBudget::kTimeoutCost;
    // A mistyped region or endpoint has no name: no use in waiting long.
    if (failure.stage() == HttpFailure::Stage::kName) out.most_attempts = 3;
    if (failure.stage() == HttpFailure::Stage::kTrust) out.repeat = false;
    return out;
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& error) {
    no_answer(error, true);
    return out;
  }

  ErrorAnswer error = read_error(response);
  out.failure.code = error.code;
  out.failure.message = credentials ? without_secrets(error.message, *credentials) : error.message;
  out.failure.request_id = error.request_id;
  out.failure.status = response.status;
  out.failure.bucket_region = response.header("x-amz-bucket-region");
  const bool throttled = is_throttling_code(error.code) || response.status == 429;
  // Said with a 500, but as definite as an answer can be: a zone that has no room has none a second later, and others may.
  const bool no_room = ApiError(out.failure).is_capacity();
  const bool transient = !no_room && (is_transient_code(error.code) || has_status_in(response.status, {500, 502, 503, 504}));
  // A 503 says that the service did not take the request; any other 5xx says nothing.
  out.failure.may_have_acted = transient && !throttled && response.status >= 500 && response.status != 503;
  out.repeat = throttled || (transient && (!out.failure.may_have_acted || request.may_repeat));
  const std::string retry_after = response.header("retry-after");
  if (!retry_after.empty() && retry_after.size() < 6 &&
      std::all_of(retry_after.begin(), retry_after.end(), [](char c) { return c >= '0' && c <= '9'; }))
    out.retry_after = std::chrono::seconds(std::stol(retry_after));
  if (const auto date = parse_http_time(response.header("date")))
    out.clock_ahead = std::chrono::duration_cast<std::chrono::seconds>(*date - time);
  return out;
}

// What another try needs to be different: the clock's offset, other credentials. True when it is, now; each at most once a call.
bool Client::mend(const Attempt& attempt, const std::optional<Credentials>& credentials, bool& clock_set, bool& refreshed) const {
  // AWS accepts 5 minutes (S3: 15); as the SDKs do, from 4 on the clock is to blame.
  constexpr std::chrono::seconds kMostSkew{240};
  const std::string& code = attempt.failure.code;
  if (!clock_set && is_clock_skew_code(code) && attempt.clock_ahead && std::chrono::abs(*attempt.clock_ahead) > kMostSkew) {
    clock_set = true;
    context_.clock->seconds += attempt.clock_ahead->count();
    return true;
  }
  if (!refreshed && credentials && is_expired_credentials_code(code)) {
    refreshed = true;
    return context_.credentials->refresh(*credentials);
  }
  return false;
}

HttpResponse Client::send(const ServiceRequest& request, std::initializer_list<int> also_fine) const {
  bool clock_set = false, refreshed = false, may_have_acted = false;
  int taken = 0;
  for (int number = 1;; ++number) {
    std::optional<Credentials> credentials;
    if (context_.credentials) credentials = context_.credentials->get();
    Attempt attempt = try_once(request, credentials, also_fine);
    if (attempt.response) {
      context_.budget->give(taken == 0 ? 1 : taken);
      return std::move(*attempt.response);
    }
    // Of any attempt: a later refusal does not undo what an earlier one, unanswered, may have done.
    may_have_acted = may_have_acted || attempt.failure.may_have_acted;
    attempt.failure.may_have_acted = may_have_acted;
    if (number < context_.max_attempts && mend(attempt, credentials, clock_set, refreshed)) continue;
    const bool again = attempt.repeat && number < std::min(context_.max_attempts, attempt.most_attempts);
    if (!again || !context_.budget->take(attempt.cost)) throw ApiError(std::move(attempt.failure));
    taken = attempt.cost;
    context_.surroundings.sleep(retry_pause(number, attempt.retry_after, context_.surroundings.random()));
  }
}

void each_page(const CallFunction& call, Json params, std::string_view item_path, const PageKeys& keys,
               const std::function<void(const Json& answer)>& take) {
  std::string last;
  for (;;) {
    const Json answer = call(params);
    take(answer);
    const std::string token = text(answer, keys.token_answer);
    if (token.empty()) return;
    if (token == last) fail("AWS sends the same page of '{}' again and again", item_path);
    last = token;
    params[keys.token_parameter] = token;
  }
}

std::vector<Json> all_pages(const CallFunction& call, Json params, std::string_view item_path, const PageKeys& keys) {
  std::vector<Json> items;
  each_page(call, std::move(params), item_path, keys, [&](const Json& answer) {
    for (auto& item : list(answer, item_path)) items.push_back(std::move(item));
  });
  return items;
}

}  // namespace kiln::aws
