// S3: small objects, in memory.
//
// The bucket is a part of the host name (BUCKET.s3.REGION.amazonaws.com), or of the path where the endpoint is one's own, and for bucket
// names that TLS's wildcard certificates don't cover (with dots). A bucket of another region is found by S3's answer and asked there.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "aws/client.h"

namespace kiln::aws {

struct S3Object {
  std::string key;
  std::int64_t size_bytes = 0;
  std::string etag;           // with its quotes
  std::string last_modified;  // ISO 8601
};

class S3 {
 public:
  explicit S3(const Session& session);

  // All throw ApiError. Keys are any UTF-8 text of 1 to 1024 bytes, also with "//", "..", "?" or "%".
  void put(const std::string& bucket, const std::string& key, std::string_view data,
           const std::string& content_type = "application/octet-stream") const;
  // Nothing when there is no such object.
  std::optional<std::string> get(const std::string& bucket, const std::string& key) const;
  std::optional<S3Object> head(const std::string& bucket, const std::string& key) const;
  // One that is not there is fine.
  void remove(const std::string& bucket, const std::string& key) const;
  // All whose key starts with `prefix`, in S3's order (UTF-8), all pages; `page`: how many a call (S3's most is 1000).
  std::vector<S3Object> list(const std::string& bucket, const std::string& prefix = {}, int page = 1000) const;

 private:
  HttpResponse send(const std::string& operation, const std::string& method, const std::string& bucket, const std::string& key,
                    const std::string& query, std::string_view data, Headers headers, std::initializer_list<int> also_fine) const;
  HttpResponse send_in(const Session& session, ServiceRequest request, const std::string& bucket,
                       std::initializer_list<int> also_fine) const;
  Session session_;
};

}  // namespace kiln::aws
