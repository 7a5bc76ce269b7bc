#include "aws/api_error.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace kiln::aws {

namespace {

template <std::size_t N>
bool one_of(const std::string& code, const std::array<std::string_view, N>& codes) {
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

bool ends_with_any(const std::string& code, std::initializer_list<std::string_view> ends) {
  return std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return code.ends_with(end); });
}

std::string message_of(const ApiFailure& failure) {
  std::string out = fmt::format("{} {} failed", failure.service, failure.operation);
  if (!failure.region.empty()) out += " in " + failure.region;
  out += ": " + failure.code;
  if (!failure.message.empty()) out += ": " + failure.message;
  if (!failure.request_id.empty()) out += fmt::format(" (request {})", failure.request_id);
  return out;
}

constexpr std::string_view kEncodedMark = "Encoded authorization failure message: ";

// The permission that an operation needs bears its name, but for these of S3.
std::string permission_of(const ApiFailure& failure) {
  if (failure.operation == "ListObjectsV2") return "s3:ListBucket";
  if (failure.operation == "HeadObject") return "s3:GetObject";
  return failure.service + ":" + failure.operation;
}

std::string permission_hint(const ApiFailure& failure) {
  std::string hint = fmt::format("the credentials ({}) lack the permission {}", failure.credentials_source, permission_of(failure));
  const std::size_t mark = failure.message.find(kEncodedMark);
  if (mark == std::string::npos) return hint;
  const std::size_t start = mark + kEncodedMark.size();
  const std::string encoded = failure.message.substr(start, failure.message.find_first_of(" \n\t", start) - start);
  return hint +
         "; what exactly was refused says: aws sts decode-authorization-message --query DecodedMessage --output text --encoded-message " +
         encoded;
}

std::string hint_of(const ApiFailure& failure, const ApiError& error) {
  const std::string& code = failure.code;
  if (one_of(code, std::array<std::string_view, 4>{"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "AuthorizationError"}))
    return permission_hint(failure);
  if (is_expired_credentials_code(code))
    return fmt::format("the credentials ({}) have expired: get new ones, for instance with `aws sso login`", failure.credentials_source);
  if (one_of(code, std::array<std::string_view, 5>{"InvalidClientTokenId", "AuthFailure", "UnrecognizedClientException",
                                                   "InvalidAccessKeyId", "InvalidSecurity"}))
    return fmt::format(
        "AWS does not know the credentials ({}): they may be deleted, of another partition, or the region may not be enabled for the "
        "account",
        failure.credentials_source);
  if (one_of(code, std::array<std::string_view, 2>{"SignatureDoesNotMatch", "InvalidSignatureException"}))
    return fmt::format("the secret key ({}) does not belong to the access key, or this machine's clock is wrong",
                       failure.credentials_source);
  if (is_clock_skew_code(code)) return "this machine's clock is wrong: set it (`timedatectl set-ntp true`)";
  if (code == "OptInRequired" || code == "SubscriptionRequiredException")
    return "the account is not signed up for this service or region: enable it in the AWS console (Account, AWS Regions)";
  if (error.is_quota())
    return fmt::format("a limit of the account in {}: remove what is no longer needed, or ask for more in the AWS console (Service Quotas)",
                       failure.region.empty() ? "this region" : failure.region);
  if (error.is_capacity()) return "AWS has no room for this instance type there now: try another zone, another type, or later";
  if (is_throttling_code(code)) return "AWS limits how often the account may call: try again later, or with fewer at a time";
  if (code == "NoAnswer")
    return "check the network and the region's name; `kiln doctor --on aws` shows the endpoint in use (AWS_ENDPOINT_URL, proxies count)";
  return {};
}

}  // namespace

ApiError::ApiError(ApiFailure failure) : Error(message_of(failure)), failure_(std::move(failure)) { set_hint(hint_of(failure_, *this)); }

bool ApiError::is_not_found() const {
  return ends_with_any(code(), {"NotFound", "ResourceNotFoundException", ".Unknown"}) ||
         one_of(code(),
                std::array<std::string_view, 5>{"NoSuchEntity", "NoSuchKey", "NoSuchBucket", "InvalidAMIID.Unavailable", "Http404"});
}

bool ApiError::is_duplicate() const {
  return ends_with_any(code(), {".Duplicate", "AlreadyExists", "AlreadyExistsException"}) ||
         one_of(code(), std::array<std::string_view, 1>{"BucketAlreadyOwnedByYou"});
}

bool ApiError::is_capacity() const {
  return one_of(code(), std::array<std::string_view, 7>{"InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity",
                                                        "InsufficientReservedInstanceCapacity", "SpotMaxPriceTooLow", "Unsupported",
                                                        "InsufficientCapacityOnOutpost"});
}

bool ApiError::is_quota() const {
  return ends_with_any(code(), {"LimitExceeded", "LimitExceededException", "QuotaExceeded", "QuotaExceededException"})
             ? !is_throttling_code(code())
             : one_of(code(), std::array<std::string_view, 5>{"MaxSpotInstanceCountExceeded", "MaxSpotFleetRequestCountExceeded",
                                                              "PendingVerification", "ResourceCountExceeded", "ServiceQuotaExceeded"});
}

bool is_throttling_code(const std::string& code) {
  return one_of(code, std::array<std::string_view, 15>{
                          "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottledException",
                          "TooManyRequestsException", "ProvisionedThroughputExceededException", "TransactionInProgressException",
                          "RequestLimitExceeded", "BandwidthLimitExceeded", "LimitExceededException", "RequestThrottled", "SlowDown",
                          "PriorRequestNotComplete", "EC2ThrottledException", "Client.RequestLimitExceeded"});
}

bool is_transient_code(const std::string& code) {
  return one_of(code, std::array<std::string_view, 10>{"RequestTimeout", "RequestTimeoutException", "InternalError", "InternalFailure",
                                                       "InternalServerError", "InternalServerException", "Unavailable",
                                                       "ServiceUnavailable", "ServiceUnavailableException", "IDPCommunicationError"});
}

bool is_expired_credentials_code(const std::string& code) {
  return one_of(code, std::array<std::string_view, 5>{"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired",
                                                      "Client.ExpiredToken"});
}

bool is_clock_skew_code(const std::string& code) {
  return one_of(code,
                std::array<std::string_view, 8>{"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture", "InvalidSignatureException",
                                                "SignatureDoesNotMatch", "AuthFailure", "ClockSkew", "AccessDeniedClockSkew"});
}

}  // namespace kiln::aws
