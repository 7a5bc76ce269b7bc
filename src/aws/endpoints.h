// Where a service is in a region, and how requests to it are signed.
//
// An endpoint of one's own goes first (docs: "Service-specific endpoints"): AWS_ENDPOINT_URL_<SERVICE>, AWS_ENDPOINT_URL, the profile's
// `services = NAME` section ([services NAME], `ec2 =` + `endpoint_url = …`), the profile's endpoint_url; none of them where
// AWS_IGNORE_CONFIGURED_ENDPOINT_URLS or the profile's ignore_configured_endpoint_urls is true.
// Otherwise the partition's pattern holds, SERVICE.REGION.SUFFIX, with the exceptions that AWS has (IAM is one endpoint a partition …);
// AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT (or the profile's use_fips_endpoint, use_dualstack_endpoint) choose variants of it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace kiln::aws {

struct Partition {
  std::string name;           // "aws", "aws-cn", "aws-us-gov" … ; also the second part of its ARNs
  std::string dns_suffix;     // "amazonaws.com", "amazonaws.com.cn" …
  std::string dual_suffix;    // of hosts that have IPv6 too: "api.aws" …
  std::string global_region;  // the region that signs for services without regions: "us-east-1", "cn-north-1" …
  std::string iam_host;       // IAM is one place a partition
  std::string iam_region;     // and signed for this region
};

// By the shape of the name, so that regions newer than this program work too ("aws" for what no other knows).
const Partition& partition_of(std::string_view region);
// False for what cannot be a region's name: it would become a part of a host name.
bool is_region_name(std::string_view region);

struct Endpoint {
  std::string url;             // "https://ec2.eu-central-1.amazonaws.com", without a slash at its end
  std::string signing_region;  // "eu-central-1"
  std::string signing_name;    // "ec2"
  bool custom = false;         // one's own (a fake, a proxy, a VPC endpoint): S3 uses path style there
  std::string source;          // of a custom one, for people: "AWS_ENDPOINT_URL"
};

struct EndpointVariant {
  bool fips = false;        // cryptography after FIPS 140
  bool dual_stack = false;  // IPv6 too
};

// AWS's own endpoint. UsageError for a region that is no name, and for a variant that the partition does not have.
Endpoint standard_endpoint(const std::string& service, const std::string& region, const EndpointVariant& variant = {});

}  // namespace kiln::aws
