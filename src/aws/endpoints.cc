#include "aws/endpoints.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace kiln::aws {

namespace {

// After botocore's partitions.json and its rules for IAM (1.43). `prefixes`: how the names of a partition's regions begin; the longest
// that fits decides.
struct PartitionRow {
  Partition partition;
  std::array<const char*, 2> prefixes;
};

const std::array<PartitionRow, 8>& rows() {
  static const std::array<PartitionRow, 8> table{{
      {{"aws", "amazonaws.com", "api.aws", "us-east-1", "iam.amazonaws.com", "us-east-1"}, {"", "aws-global"}},
      {{"aws-cn", "amazonaws.com.cn", "api.amazonwebservices.com.cn", "cn-northwest-1", "iam.cn-north-1.amazonaws.com.cn", "cn-north-1"},
       {"cn-", "aws-cn-"}},
      {{"aws-us-gov", "amazonaws.com", "api.aws", "us-gov-west-1", "iam.us-gov.amazonaws.com", "us-gov-west-1"},
       {"us-gov-", "aws-us-gov-"}},
      {{"aws-eusc", "amazonaws.eu", "api.amazonwebservices.eu", "eusc-de-east-1", "iam.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"},
       {"eusc-", "eusc-"}},
      {{"aws-iso", "c2s.ic.gov", "api.aws.ic.gov", "us-iso-east-1", "iam.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"},
       {"us-iso-", "aws-iso-global"}},
      {{"aws-iso-b", "sc2s.sgov.gov", "api.aws.scloud", "us-isob-east-1", "iam.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"},
       {"us-isob-", "aws-iso-b-"}},
      {{"aws-iso-e", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk", "eu-isoe-west-1", "iam.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1"},
       {"eu-isoe-", "aws-iso-e-"}},
      {{"aws-iso-f", "csp.hci.ic.gov", "api.aws.hci.ic.gov", "us-isof-south-1", "iam.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1"},
       {"us-isof-", "aws-iso-f-"}},
  }};
  return table;
}

}  // namespace

const Partition& partition_of(std::string_view region) {
  const Partition* best = &rows()[0].partition;
  std::size_t length = 0;
  for (const auto& row : rows()) {
    for (const std::string_view prefix : row.prefixes) {
      if (prefix.size() <= length || !region.starts_with(prefix)) continue;
      best = &row.partition;
      length = prefix.size();
    }
  }
  return *best;
}

bool is_region_name(std::string_view region) {
  const bool letters = std::all_of(region.begin(), region.end(), [](char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9') || letter == '-';
  });
  return letters && !region.empty() && region.size() <= 63 && region.front() != '-' && region.back() != '-';
}

namespace {

// IAM is one place a partition, with variants after no rule (botocore's rule set of IAM).
Endpoint iam_endpoint(const Partition& partition, const EndpointVariant& variant) {
  Endpoint out{"https://" + partition.iam_host, partition.iam_region, "iam", false, {}};
  if (partition.name == "aws-us-gov") {
    if (variant.dual_stack) out.url = "https://iam.us-gov.api.aws";
    return out;
  }
  const char* name = variant.fips ? "iam-fips" : "iam";
  const bool global_too = partition.name == "aws" || (!variant.fips && (partition.name == "aws-cn" || partition.name == "aws-eusc"));
  const bool regional_fips = partition.name == "aws-iso" || partition.name == "aws-iso-b";
  if (variant.dual_stack && global_too) {
    out.url = fmt::format("https://{}.global.{}", name, partition.dual_suffix);
  } else if (variant.fips && !variant.dual_stack && regional_fips) {
    out.url = fmt::format("https://iam-fips.{}.{}", partition.iam_region, partition.dns_suffix);
  } else if (variant.fips || variant.dual_stack) {
    out.url = fmt::format("https://{}.{}", name, variant.dual_stack ? partition.dual_suffix : partition.dns_suffix);
    out.signing_region = partition.global_region;
  }
  return out;
}

// S3's dual-stack hosts have a label of their own, not a suffix.
std::string s3_host(const std::string& region, const Partition& partition, const EndpointVariant& variant) {
  if (variant.fips && partition.name == "aws-cn") {
    UsageError error("S3 has no FIPS endpoints in the partition aws-cn");
    error.set_hint("unset AWS_USE_FIPS_ENDPOINT, or the profile's use_fips_endpoint");
    throw error;
  }
  return fmt::format("s3{}{}.{}.{}", variant.fips ? "-fips" : "", variant.dual_stack ? ".dualstack" : "", region, partition.dns_suffix);
}

// Whose ordinary endpoints in aws-us-gov are FIPS ones.
bool is_fips_anyway(const std::string& service, const Partition& partition) {
  return partition.name == "aws-us-gov" && (service == "ec2" || service == "ssm" || service == "sts");
}

}  // namespace

Endpoint standard_endpoint(const std::string& service, const std::string& region, const EndpointVariant& variant) {
  if (!is_region_name(region)) {
    UsageError error(fmt::format("'{}' is no AWS region", region));
    error.set_hint("a region looks like eu-central-1; `aws ec2 describe-regions` lists them");
    throw error;
  }
  const Partition& partition = partition_of(region);
  if (service == "iam") return iam_endpoint(partition, variant);
  Endpoint out{"https://", region, service, false, {}};
  if (service == "s3") {
    out.url += s3_host(region, partition, variant);
    return out;
  }
  // Hosts that are not named as their service.
  std::string host = service == "pricing" ? "api.pricing" : service == "sso" ? "portal.sso" : service == "sso_oidc" ? "oidc" : service;
  if (variant.fips && (variant.dual_stack || !is_fips_anyway(service, partition))) host += "-fips";
  out.url += fmt::format("{}.{}.{}", host, region, variant.dual_stack ? partition.dual_suffix : partition.dns_suffix);
  return out;
}

}  // namespace kiln::aws
