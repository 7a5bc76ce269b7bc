// Signature V4 of a request (AWS General Reference, "Create a signed AWS API request"), over headers, with the payload's SHA-256.
//
// Ours, since libcurl's (7.88) is wrong where one signed header's name is the beginning of another's and for unsorted or valueless queries,
// and never sends x-amz-content-sha256. tests/30-aws.test holds it byte by byte against botocore's signer.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aws/credentials.h"
#include "aws/surroundings.h"

namespace kiln::aws {

struct SigningInput {
  std::string method;  // "GET"
  std::string host;    // as the Host header will say it: with the port, unless that is the scheme's own
  std::string path;    // percent-encoded, as it goes over the wire; empty means "/"
  std::string query;   // percent-encoded, as it goes over the wire, without "?"
  // All are signed, but for those that proxies change (Connection, Expect, User-Agent …). A name may come more than once.
  std::vector<std::pair<std::string, std::string>> headers;
  std::string payload_sha256;  // 64 hex digits
};

struct SigningScope {
  std::string region;   // "eu-central-1"
  std::string service;  // "ec2"
  Time time;
  // S3's rule: the path is signed as it is. All others normalise it ("//", "." and "..") and encode it a second time.
  bool s3_path = false;
  bool payload_header = false;  // add x-amz-content-sha256 (S3 demands it)
};

// The headers to add: X-Amz-Date, X-Amz-Security-Token for temporary credentials, x-amz-content-sha256 where wanted, Authorization.
std::vector<std::pair<std::string, std::string>> sign(const SigningInput& input, const SigningScope& scope, const Credentials& credentials);

// The SHA-256 of nothing, for requests without a body.
extern const char* const kEmptySha256;

}  // namespace kiln::aws
