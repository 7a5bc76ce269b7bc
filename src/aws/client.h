// A call to one AWS service in one region: build, sign, send, try again, read the answer. The services' classes (ec2.h, ebs.h …) are
// this with a protocol.
//
// What is tried again (retry.h says when): throttling; answers 500, 502, 503, 504; connections that break; a clock that is off (the offset
// is learnt from the answer's Date); credentials that have expired (fetched anew, once).
// A call that may have acted although it seems to have failed is repeated only when that is safe: reading, calls with a ClientToken, and
// those that say the same when said twice (Delete…, Terminate…, CreateTags …). Others end with ApiError::may_have_acted(), so that
// the caller can look before it makes something a second time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "aws/answer.h"
#include "aws/api_error.h"
#include "aws/credentials.h"
#include "aws/endpoints.h"
#include "aws/http.h"
#include "aws/retry.h"
#include "aws/session.h"
#include "aws/surroundings.h"
#include "base/json.h"

namespace kiln::aws {

// Whether a call may be repeated when nobody knows whether it has acted.
enum class Repeat {
  kByName,  // as the operation's name and a ClientToken in its parameters tell
  kAlways,  // the caller knows that twice is as good as once
  kNever,
};

struct CallOptions {
  Repeat repeat = Repeat::kByName;
};

// A token that makes a call idempotent: random; the same for the same `seed`, for calls that a later process may have to repeat.
// 32 characters (EC2 and EBS allow 64).
std::string client_token(std::string_view seed = {});

// True for operations that can be repeated: by their verb, or since `params` have a ClientToken (or ClientRequestToken …).
bool is_repeatable(const std::string& operation, const Json& params);

// What a Client needs; Session makes it. The credentials chain makes its own, to ask STS.
struct ClientContext {
  std::string service;  // "ec2"
  std::string region;
  Endpoint endpoint;
  std::shared_ptr<CredentialsCache> credentials;  // none: requests are not signed
  std::shared_ptr<Http> http;
  std::shared_ptr<RetryBudget> budget;
  std::shared_ptr<ClockOffset> clock;
  Surroundings surroundings;
  int max_attempts = 0;
};

struct ServiceRequest {
  std::string operation;
  std::string method = "POST";
  std::string path = "/";  // percent-encoded
  std::string query;       // percent-encoded, without "?"
  Headers headers;
  std::string_view body;
  std::string body_sha256;        // hex; computed when empty
  bool sign_body_header = false;  // send x-amz-content-sha256 (S3 needs it)
  bool may_repeat = false;
  // Reads a good answer; what it throws as Error counts as no answer (it was cut).
  std::function<void(const HttpResponse&)> read;
};

class Client {
 public:
  explicit Client(ClientContext context) : context_(std::move(context)) {}

  const std::string& region() const { return context_.region; }
  const Endpoint& endpoint() const { return context_.endpoint; }
  const Surroundings& surroundings() const { return context_.surroundings; }

  // Sends until there is an answer with a status below 300 (or one in `also_fine`); ApiError otherwise. Thread-safe.
  HttpResponse send(const ServiceRequest& request, std::initializer_list<int> also_fine = {}) const;

 private:
  struct Attempt;
  Attempt try_once(const ServiceRequest& request, const std::optional<Credentials>& credentials,
                   std::initializer_list<int> also_fine) const;
  HttpRequest signed_request(const ServiceRequest& request, const std::optional<Credentials>& credentials, Time time) const;
  bool mend(const Attempt& attempt, const std::optional<Credentials>& credentials, bool& clock_set, bool& refreshed) const;
  ClientContext context_;
};

// Error answers of all protocols: XML <Error><Code>, <ErrorResponse>, <Response><Errors>; JSON __type or x-amzn-ErrorType. Fills in
// `code`, `message` and `request_id`; what cannot be read gives "HttpSTATUS" and the start of the text. Never throws.
struct ErrorAnswer {
  std::string code, message, request_id;
};
ErrorAnswer read_error(const HttpResponse& response);

// Pages: calls until the answer names no further one.
// `item_path`: where the answer has its items ("reservationSet", "Roles", "Contents").
using CallFunction = std::function<Json(const Json& params)>;
struct PageKeys {
  std::string token_parameter;  // "NextToken", "Marker", "ContinuationToken"
  std::string token_answer;     // "nextToken", "Marker", "NextContinuationToken"
};
// Each answer is given to `take` and forgotten: what a thousand machines are told of takes tens of megabytes.
void each_page(const CallFunction& call, Json params, std::string_view item_path, const PageKeys& keys,
               const std::function<void(const Json& answer)>& take);
std::vector<Json> all_pages(const CallFunction& call, Json params, std::string_view item_path, const PageKeys& keys);

}  // namespace kiln::aws
