// What AWS answered to a call that failed, or why there was no answer.
//
//   try { ec2.call("RunInstances", …); }
//   catch (const aws::ApiError& error) { if (error.code() == "InsufficientInstanceCapacity") … else throw; }
#pragma once

#include <string>

#include "base/error.h"

namespace kiln::aws {

struct ApiFailure {
  std::string service;    // "ec2"
  std::string operation;  // "RunInstances"
  std::string region;     // "eu-central-1"
  std::string code;     // AWS's own word: "UnauthorizedOperation", "VpcLimitExceeded"; "NoAnswer" when the connection broke; "Http500" when
                        // the answer said nothing that one could read
  std::string message;  // AWS's sentence, without secrets
  std::string request_id;          // for AWS's support; may be empty
  int status = 0;                  // HTTP; 0: no answer
  bool may_have_acted = false;     // the call may have done its work all the same (no answer, or a 5xx that is no throttling)
  std::string credentials_source;  // for hints
  std::string bucket_region;       // S3: where the bucket is, when not here
};

class ApiError : public Error {
 public:
  // Makes the message and, where the user can do something about it, the hint.
  explicit ApiError(ApiFailure failure);

  const std::string& code() const { return failure_.code; }
  const std::string& api_message() const { return failure_.message; }
  const std::string& request_id() const { return failure_.request_id; }
  const std::string& service() const { return failure_.service; }
  const std::string& operation() const { return failure_.operation; }
  const std::string& region() const { return failure_.region; }
  int status() const { return failure_.status; }
  const std::string& bucket_region() const { return failure_.bucket_region; }
  // True: whoever made the call must look whether its work was done before doing it again (by tag, name or ClientToken).
  bool may_have_acted() const { return failure_.may_have_acted; }

  // "….NotFound", "NoSuchEntity", "NoSuchKey", "ParameterNotFound" and their like: what was asked for is not there, or not yet
  // (EC2 is eventually consistent: something just made may not be found for some seconds).
  bool is_not_found() const;
  // It is there already: "….Duplicate", "EntityAlreadyExists" …
  bool is_duplicate() const;
  // No room in this zone just now: another zone or instance type may have some.
  bool is_capacity() const;
  // The account's limit: only AWS (a quota increase) or removing something helps.
  bool is_quota() const;
  // The call was a dry run, and would have worked.
  bool is_dry_run_success() const { return code() == "DryRunOperation"; }

 private:
  ApiFailure failure_;
};

// Which codes mean what; lists after the SDKs' standard retry mode and EC2's "Error codes" page.
bool is_throttling_code(const std::string& code);
bool is_transient_code(const std::string& code);
bool is_expired_credentials_code(const std::string& code);
bool is_clock_skew_code(const std::string& code);

}  // namespace kiln::aws
