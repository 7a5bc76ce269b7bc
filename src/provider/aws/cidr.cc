#include "provider/aws/cidr.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace kiln::provider::on_aws {

namespace {

// The digits at the start of `text` as a number up to `most`; they are taken away from it.
std::optional<std::uint32_t> take_number(std::string_view& text, std::uint32_t most) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number > most) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

bool take(std::string_view& text, char letter) {
  if (!text.starts_with(letter)) return false;
  text.remove_prefix(1);
  return true;
}

std::uint32_t mask(int bits) { return bits == 0 ? 0 : ~std::uint32_t{0} << (32 - bits); }

// As read_cidr(), also with bits behind the prefix.
std::optional<Cidr> read_loosely(std::string_view text) {
  Cidr cidr;
  for (int part = 0; part < 4; ++part) {
    if (part > 0 && !take(text, '.')) return std::nullopt;
    const auto number = take_number(text, 255);
    if (!number) return std::nullopt;
    cidr.address = cidr.address << 8 | *number;
  }
  if (!take(text, '/')) return std::nullopt;
  const auto bits = take_number(text, 32);
  if (!bits || !text.empty()) return std::nullopt;
  cidr.bits = static_cast<int>(*bits);
  return cidr;
}

}  // namespace

std::string Cidr::to_string() const {
  return fmt::format("{}.{}.{}.{}/{}", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255, bits);
}

bool Cidr::overlaps(const Cidr& other) const {
  const std::uint32_t common = mask(std::min(bits, other.bits));
  return (address & common) == (other.address & common);
}

std::optional<Cidr> read_cidr(std::string_view text) {
  const auto cidr = read_loosely(text);
  if (!cidr || (cidr->address & ~mask(cidr->bits)) != 0) return std::nullopt;
  return cidr;
}

Cidr parse_vpc_cidr(std::string_view what, std::string_view text) {
  const auto refuse = [&](const std::string& why, const std::string& hint) {
    UsageError error(fmt::format("{} {}: {}", what, text, why));
    error.set_hint(hint);
    throw error;
  };
  auto cidr = read_loosely(text);
  if (!cidr) refuse("no block of IPv4 addresses", "for example 10.42.0.0/16");
  if (const Cidr right{cidr->address & mask(cidr->bits), cidr->bits}; !(right == *cidr)) {
    refuse("has bits set behind its prefix", fmt::format("{} is the block that it is in", right.to_string()));
  }
  if (cidr->bits < 16 || cidr->bits > 25) {
    refuse(fmt::format("a network is /16 to /25, since EC2's subnets are /16 to /28 and it has {} of them", kSubnetSlots),
           "the default is 10.42.0.0/16: 8187 addresses in each zone");
  }
  // "this network", loopback, link-local (where the metadata service is), multicast and reserved (RFC 6890).
  for (const char* nobodys : {"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"}) {
    if (read_cidr(nobodys)->overlaps(*cidr)) {
      refuse(fmt::format("lies in {}, which is for no network", nobodys),
             "private ranges are 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16");
    }
  }
  return *cidr;
}

std::optional<Cidr> subnet_for_zone(const Cidr& vpc, std::string_view zone, const std::vector<Cidr>& taken) {
  // 2^3 of them.
  static_assert(kSubnetSlots == 8);
  const int bits = vpc.bits + 3;
  const auto slot = [&](int index) { return Cidr{vpc.address + (static_cast<std::uint32_t>(index) << (32 - bits)), bits}; };
  const auto free = [&](const Cidr& block) {
    return std::none_of(taken.begin(), taken.end(), [&](const Cidr& other) { return other.overlaps(block); });
  };
  if (bits > 28 || zone.empty()) return std::nullopt;
  const int letter = zone.back() - 'a';
  if (letter >= 0 && letter < kSubnetSlots && free(slot(letter))) return slot(letter);
  for (int index = kSubnetSlots; index-- > 0;) {
    if (free(slot(index))) return slot(index);
  }
  return std::nullopt;
}

}  // namespace kiln::provider::on_aws
