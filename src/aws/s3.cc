#include "aws/s3.h"

#include <algorithm>

#include "base/strings.h"

namespace kiln::aws {

namespace {

// "a/b c" → "a/b%20c": the slashes of a key are the path's.
std::string encoded_key(const std::string& key) {
  std::vector<std::string> parts = split(key, '/');
  for (auto& part : parts) part = percent_encode(part);
  return join(parts, "/");
}

// A bucket whose name can be the first label of a host under *.s3.REGION.…
bool fits_host(const std::string& bucket) {
  const bool letters = std::all_of(bucket.begin(), bucket.end(), [](char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || letter == '-';
  });
  return letters && bucket.size() >= 3 && bucket.size() <= 63 && bucket.front() != '-' && bucket.back() != '-';
}

S3Object object_of(const Json& entry) {
  return {text(entry, "Key"), integer(entry, "Size").value_or(0), text(entry, "ETag"), text(entry, "LastModified")};
}

// Listings are asked for with encoding-type=url, since XML cannot hold every key: "+" is a blank there.
std::string decoded_key(const std::string& encoded) {
  std::string out;
  for (std::size_t i = 0; i < encoded.size(); ++i) {
    const auto digit = [&](std::size_t at) {
      const char letter = at < encoded.size() ? encoded[at] : 'x';
      return letter >= '0' && letter <= '9'   ? letter - '0'
             : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10
             : letter >= 'A' && letter <= 'F' ? letter - 'A' + 10
                                              : -1;
    };
    if (encoded[i] == '%' && digit(i + 1) >= 0 && digit(i + 2) >= 0) {
      out += static_cast<char>(digit(i + 1) * 16 + digit(i + 2));
      i += 2;
    } else {
      out += encoded[i] == '+' ? ' ' : encoded[i];
    }
  }
  return out;
}

}  // namespace

S3::S3(const Session& session) : session_(session) {}

HttpResponse S3::send_in(const Session& session, ServiceRequest request, const std::string& bucket,
                         std::initializer_list<int> also_fine) const {
  ClientContext context = session.client("s3");
  if (!context.endpoint.custom && fits_host(bucket))
    context.endpoint.url.insert(context.endpoint.url.find("://") + 3, bucket + ".");
  else
    request.path = "/" + percent_encode(bucket) + request.path;
  return Client(std::move(context)).send(request, also_fine);
}

HttpResponse S3::send(const std::string& operation, const std::string& method, const std::string& bucket, const std::string& key,
                      const std::string& query, std::string_view data, Headers headers, std::initializer_list<int> also_fine) const {
  ServiceRequest request;
  request.operation = operation;
  request.method = method;
  request.path = "/" + encoded_key(key);
  request.query = query;
  request.headers = std::move(headers);
  request.body = data;
  request.sign_body_header = true;
  request.may_repeat = true;
  try {
    return send_in(session_, request, bucket, also_fine);
  } catch (const ApiError& error) {
    // The bucket is elsewhere (301, 307 or 400, with the region's name): asked for there, signed anew.
    const std::string& region = error.bucket_region();
    if (!is_region_name(region) || region == session_.region()) throw;
    return send_in(session_.for_region(region), request, bucket, also_fine);
  }
}

void S3::put(const std::string& bucket, const std::string& key, std::string_view data, const std::string& content_type) const {
  send("PutObject", "PUT", bucket, key, "", data, {{"Content-Type", content_type}}, {});
}

std::optional<std::string> S3::get(const std::string& bucket, const std::string& key) const {
  HttpResponse response = send("GetObject", "GET", bucket, key, "", {}, {}, {404});
  if (response.status != 404) return std::move(response.body);
  // A bucket that is not there is a mistake, not an object's absence.
  if (read_error(response).code == "NoSuchBucket") fail("there is no S3 bucket '{}'", bucket);
  return std::nullopt;
}

std::optional<S3Object> S3::head(const std::string& bucket, const std::string& key) const {
  const HttpResponse response = send("HeadObject", "HEAD", bucket, key, "", {}, {}, {404});
  if (response.status == 404) return std::nullopt;
  S3Object out{key, 0, response.header("etag"), ""};
  out.size_bytes = integer(Json(response.header("content-length")), "").value_or(0);
  if (const auto time = parse_http_time(response.header("last-modified"))) out.last_modified = iso_time(*time);
  return out;
}

void S3::remove(const std::string& bucket, const std::string& key) const { send("DeleteObject", "DELETE", bucket, key, "", {}, {}, {}); }

std::vector<S3Object> S3::list(const std::string& bucket, const std::string& prefix, int page) const {
  std::vector<S3Object> out;
  const std::string base = fmt::format("encoding-type=url&list-type=2&max-keys={}&prefix={}", page, percent_encode(prefix));
  const auto call = [&](const Json& params) {
    const std::string token = text(params, "token");
    return xml_to_json(
        send("ListObjectsV2", "GET", bucket, "", token.empty() ? base : base + "&continuation-token=" + percent_encode(token), {}, {}, {})
            .body);
  };
  for (const Json& entry : all_pages(call, Json::object(), "Contents", {"token", "NextContinuationToken"})) {
    S3Object object = object_of(entry);
    object.key = decoded_key(object.key);
    out.push_back(std::move(object));
  }
  return out;
}

}  // namespace kiln::aws
