// IPv4 address blocks, as VPCs and subnets have them (RFC 4632).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kiln::provider::on_aws {

struct Cidr {
  std::uint32_t address = 0;
  int bits = 0;  // "/16"

  std::uint64_t size() const { return std::uint64_t{1} << (32 - bits); }
  std::string to_string() const;
  bool overlaps(const Cidr& other) const;
  bool operator==(const Cidr&) const = default;
};

// Nothing for text that is no block, or has bits set behind its prefix.
std::optional<Cidr> read_cidr(std::string_view text);

// A block for a VPC that is to be cut into kSubnetSlots. UsageError, naming `what` (an option), for one that EC2 would not take:
// VPCs and subnets are /16 to /28 (Amazon VPC User Guide, "VPC CIDR blocks"), and some ranges are nobody's.
Cidr parse_vpc_cidr(std::string_view what, std::string_view text);

// A network has room for so many subnets, one a zone; no region has more zones than six (us-east-1).
constexpr int kSubnetSlots = 8;

// The block for a zone's subnet: the eighth of `vpc` that goes with the zone's last letter ("us-east-1c": the third), so that whoever
// asks, and whatever other zones there are, gets the same; where that is taken, the last free one. Nothing when none is free.
std::optional<Cidr> subnet_for_zone(const Cidr& vpc, std::string_view zone, const std::vector<Cidr>& taken);

}  // namespace kiln::provider::on_aws
