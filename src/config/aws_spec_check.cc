#include "config/aws_spec_check.h"

#include <arpa/inet.h>

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "config/aws_spec.h"
#include "config/diagnostic.h"

namespace kiln::config {

namespace {

// /dev/sdf … /dev/sdp: the names that EC2 recommends for added volumes ("Device names on Linux instances").
constexpr int kMostVolumes = 11;
constexpr int kMostGroups = 4;  // with the cluster's own the five that an interface has by default
constexpr std::size_t kMostTags = 40;
// A role's own policies have 10,240 letters in all.
constexpr std::size_t kMostPlaces = 10;

struct VolumeType {
  const char* name;
  int least_gib, most_gib;
  int least_iops, most_iops;              // 0: cannot be given
  int least_throughput, most_throughput;  // MiB/s; as iops
  bool needs_iops;
};
constexpr VolumeType kVolumeTypes[] = {{"gp3", 1, 65536, 3000, 80000, 125, 2000, false}, {"gp2", 1, 16384, 0, 0, 0, 0, false},
                                       {"io2", 4, 65536, 100, 256000, 0, 0, true},       {"io1", 4, 16384, 100, 64000, 0, 0, true},
                                       {"st1", 125, 16384, 0, 0, 0, 0, false},           {"sc1", 125, 16384, 0, 0, 0, 0, false},
                                       {"standard", 1, 1024, 0, 0, 0, 0, false}};

void check_bounds(const std::string& what, int value, int least, int most) {
  if (value < least || value > most) fail_usage("{} {}: it must be {} to {}", what, value, least, most);
}

void check_volumes(const AwsSpec& spec) {
  check_bounds("volumes", spec.volumes, 0, kMostVolumes);
  if (spec.root_size != 0) check_bounds("root_size", spec.root_size, 1, 65536);
  std::vector<std::string> names;
  const VolumeType* type = nullptr;
  for (const auto& one : kVolumeTypes) {
    names.push_back(one.name);
    if (spec.volume_type == one.name) type = &one;
  }
  if (type == nullptr) {
    UsageError error(fmt::format("EBS has no volume type {}", in_quotes(spec.volume_type)));
    error.set_hint(fmt::format("there are: {}", join(names, ", ")));
    throw error;
  }
  const bool is_given = spec.volume_iops != 0 || spec.volume_throughput != 0 || spec.volume_type != AwsSpec().volume_type ||
                        spec.volume_size != AwsSpec().volume_size;
  if (spec.volumes == 0 && is_given) {
    UsageError error("no EBS volumes are asked for, but their size or kind is given");
    error.set_hint("--volumes N (volumes: N) says how many each node has");
    throw error;
  }
  if (spec.volumes == 0) return;
  check_bounds(fmt::format("volume_size of {}", type->name), spec.volume_size, type->least_gib, type->most_gib);
  if (type->needs_iops && spec.volume_iops == 0) {
    UsageError error(fmt::format("volumes of type {} need their IOPS", type->name));
    error.set_hint(fmt::format("--volume-iops N, {} to {}", type->least_iops, type->most_iops));
    throw error;
  }
  if (spec.volume_iops != 0) {
    if (type->most_iops == 0) fail_usage("volumes of type {} have no IOPS to choose", type->name);
    check_bounds(fmt::format("volume_iops of {}", type->name), spec.volume_iops, type->least_iops, type->most_iops);
  }
  if (spec.volume_throughput != 0) {
    if (type->most_throughput == 0) fail_usage("volumes of type {} have no throughput to choose", type->name);
    check_bounds(fmt::format("volume_throughput of {}", type->name), spec.volume_throughput, type->least_throughput, type->most_throughput);
    // A quarter of a MiB/s for each operation.
    const int iops = std::max(spec.volume_iops, 3000);
    if (spec.volume_throughput * 4 > iops)
      fail_usage("volume_throughput {} needs volume_iops of at least {}", spec.volume_throughput, spec.volume_throughput * 4);
  }
}

void check_types(const char* what, const std::string& types) {
  for (const auto& type : split(types, ',')) {
    const auto dot = type.find('.');
    const bool good = dot != std::string::npos && dot != 0 && dot + 1 != type.size() &&
                      type.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-") == std::string::npos;
    if (good) continue;
    UsageError error(fmt::format("{}: {} is no instance type", what, in_quotes(type)));
    error.set_hint("such as m7i.xlarge; several, to be tried in their order: m7i.xlarge,m6i.xlarge");
    throw error;
  }
}

void check_spot(const AwsSpec& spec) {
  if (spec.spot_price.empty()) {
    if (!spec.spot_fallback && !spec.spot_masters) return;
    UsageError error("nothing is to be on the spot market");
    error.set_hint("--spot-price max, or a price in dollars an hour: --spot-price 0.08");
    throw error;
  }
  if (spec.shutdown == "stop") fail_usage("machines of the spot market cannot stop: give 'shutdown: stop' or 'spot_price', not both");
  if (spec.spot_price == "max") return;
  const auto& price = spec.spot_price;
  const bool number = price.size() <= 12 && price.find_first_not_of("0123456789.") == std::string::npos &&
                      std::count(price.begin(), price.end(), '.') <= 1 && price.find_first_of("123456789") != std::string::npos;
  if (number) return;
  UsageError error(fmt::format("{} is no price", in_quotes(price)));
  error.set_hint("dollars an hour and machine, such as 0.08; or max: at most the price on demand");
  throw error;
}

// BUCKET or BUCKET/PREFIX. What has a meaning in a policy would give rights to more than it names.
void check_s3(const AwsSpec& spec) {
  const bool made = spec.instance_profile == kMadeProfile;
  if (made && spec.s3.empty()) {
    UsageError error("an instance profile is to be made, and nothing is said that it may reach");
    error.set_hint("--s3 BUCKET/PREFIX; may be given again");
    throw error;
  }
  if (!made && !spec.s3.empty()) {
    UsageError error("'s3' says what an instance profile that is made may reach, and none is made");
    error.set_hint("--instance-profile auto");
    throw error;
  }
  if (spec.s3.size() > kMostPlaces) fail_usage("{} places in S3: there may be {}", spec.s3.size(), kMostPlaces);
  for (const auto& place : spec.s3) {
    const std::string bucket = place.substr(0, place.find('/'));
    const bool named = bucket.size() >= 3 && bucket.size() <= 63 &&
                       bucket.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-") == std::string::npos;
    const bool plain = place.size() <= 512 && place.find_first_of("*?$\"\\") == std::string::npos &&
                       place.find("//") == std::string::npos &&
                       std::all_of(place.begin(), place.end(), [](char letter) { return static_cast<unsigned char>(letter) > ' '; });
    if (named && plain) continue;
    UsageError error(fmt::format("{} is no place in S3", in_quotes(place)));
    error.set_hint("BUCKET or BUCKET/PREFIX, without s3:// and without wildcards");
    throw error;
  }
}

}  // namespace

void check_range(const std::string& range) {
  constexpr int kWidest = 8;
  const auto slash = range.find('/');
  in_addr address{};
  const std::string width = slash == std::string::npos ? "" : range.substr(slash + 1);
  const bool number = !width.empty() && width.size() <= 2 && width.find_first_not_of("0123456789") == std::string::npos;
  if (!number || ::inet_pton(AF_INET, range.substr(0, slash).c_str(), &address) != 1 || std::stoi(width) > 32) {
    UsageError error(fmt::format("'{}' is no range of IPv4 addresses", range));
    error.set_hint("such as 203.0.113.7/32 (one address) or 203.0.113.0/24");
    throw error;
  }
  if (std::stoi(width) >= kWidest) return;
  UsageError error(fmt::format("'{}' would let most of the world in", range));
  error.set_hint("name the addresses that you come from; a range has at most 2^24 of them (/8)");
  throw error;
}

void check_tag(const std::string& key, const std::string& value) {
  if (key.empty() || key.size() > 127 || value.size() > 255)
    fail_usage("tag {}: a key has 1 to 127 letters, a value up to 255", in_quotes(key));
  if (key.starts_with("kiln:") || key.starts_with("aws:") || key == "Name")
    fail_usage("tag {}: keys that begin with kiln: or aws:, and Name, are not free", in_quotes(key));
}

void check_aws_spec(const AwsSpec& spec) {
  const int places = !spec.network.empty() + !spec.vpc.empty() + !spec.subnet.empty();
  if (places > 1) fail_usage("a cluster is in a network, a VPC or a subnet: give one of 'network', 'vpc' and 'subnet'");
  if (spec.zone == kAllZones && !spec.subnet.empty()) fail_usage("a subnet is in one zone: give 'zone: all' or 'subnet', not both");
  for (const auto& range : spec.authorized) check_range(range);
  check_types("instance_type", spec.instance_type);
  if (!spec.master_type.empty()) check_types("master_type", spec.master_type);
  if (spec.shutdown != "terminate" && spec.shutdown != "stop") fail_usage("shutdown {}: it is terminate or stop", in_quotes(spec.shutdown));
  if (spec.user.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") != std::string::npos || spec.user.starts_with('-'))
    fail_usage("user {}: no user is called so", in_quotes(spec.user));
  check_spot(spec);
  check_volumes(spec);
  check_s3(spec);
  if (spec.security_groups.size() > kMostGroups)
    fail_usage("{} security groups beside the cluster's own: a machine has at most {}", spec.security_groups.size(), kMostGroups);
  if (spec.tags.size() > kMostTags) fail_usage("{} tags: there may be {} beside kiln's", spec.tags.size(), kMostTags);
  for (const auto& tag : spec.tags) check_tag(tag.first, tag.second);
}

}  // namespace kiln::config
