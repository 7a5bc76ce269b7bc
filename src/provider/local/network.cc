#include "provider/local/network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"

namespace kiln::provider::local {

namespace {

using Mac = std::array<std::uint8_t, 6>;

std::uint32_t parse_address(const std::string& text) {
  in_addr address{};
  if (::inet_pton(AF_INET, text.c_str(), &address) != 1) fail("'{}' is no IPv4 address", text);
  return address.s_addr;
}

// Locally administered (02), and the address: the same node has the same MAC after a restart, so nobody's ARP entry is wrong.
Mac mac_of(std::uint32_t address) {
  Mac mac{0x02, 0x4b};
  std::memcpy(mac.data() + 2, &address, 4);
  return mac;
}

// One netlink request under construction.
class Request {
 public:
  Request(std::uint16_t type, std::uint16_t flags) {
    nlmsghdr header{};
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    put(&header, sizeof header);
  }
  template <class Body>
  Request& body(const Body& value) {
    put(&value, sizeof value);
    return *this;
  }
  Request& attribute(std::uint16_t type, const void* data, std::size_t size) {
    const rtattr header{static_cast<unsigned short>(RTA_LENGTH(size)), type};
    put(&header, sizeof header);
    put(data, size);
    return *this;
  }
  Request& attribute(std::uint16_t type, const std::string& text) { return attribute(type, text.c_str(), text.size() + 1); }
  Request& attribute(std::uint16_t type, std::uint32_t value) { return attribute(type, &value, sizeof value); }
  std::size_t begin(std::uint16_t type) {
    const std::size_t at = bytes_.size();
    attribute(type, nullptr, 0);
    return at;
  }
  void end(std::size_t at) {
    const auto length = static_cast<unsigned short>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at, &length, sizeof length);
  }
  std::vector<char> finish(std::uint32_t sequence) {
    nlmsghdr header{};
    std::memcpy(&header, bytes_.data(), sizeof header);
    header.nlmsg_len = static_cast<std::uint32_t>(bytes_.size());
    header.nlmsg_seq = sequence;
    std::memcpy(bytes_.data(), &header, sizeof header);
    return bytes_;
  }

 private:
  void put(const void* data, std::size_t size) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + NLMSG_ALIGN(size));
    if (size > 0) std::memcpy(bytes_.data() + at, data, size);
  }
  std::vector<char> bytes_;
};

// A connection to the kernel for the network namespace in which it was made.
class Netlink {
 public:
  Netlink() : socket_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) {
    if (!socket_) fail("cannot talk to the kernel about networks: {}", errno_text(errno));
  }
  // The kernel's answer: 0, or what errno would be.
  int send(Request request) {
    const auto bytes = request.finish(++sequence_);
    if (::send(socket_.get(), bytes.data(), bytes.size(), 0) < 0) return errno;
    alignas(nlmsghdr) std::array<char, 8192> answer;
    for (;;) {
      const ssize_t count = ::recv(socket_.get(), answer.data(), answer.size(), 0);
      if (count < 0 && errno == EINTR) continue;
      if (count < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(nlmsgerr)))) return errno == 0 ? EPROTO : errno;
      const auto* header = reinterpret_cast<const nlmsghdr*>(answer.data());
      if (header->nlmsg_seq != sequence_ || header->nlmsg_type != NLMSG_ERROR) continue;
      return -static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
    }
  }
  void require(const std::string& what, Request request) {
    if (const int error = send(std::move(request)); error != 0) fail("cannot {}: {}", what, errno_text(error));
  }

 private:
  Fd socket_;
  std::uint32_t sequence_ = 0;
};

ifinfomsg link(unsigned index, bool up) {
  ifinfomsg info{};
  info.ifi_family = AF_UNSPEC;
  info.ifi_index = static_cast<int>(index);
  if (up) info.ifi_flags = info.ifi_change = IFF_UP;
  return info;
}

Request change_link(unsigned index) {
  Request request(RTM_NEWLINK, 0);
  request.body(link(index, true));
  return request;
}

Request add_address(unsigned index, std::uint32_t address) {
  ifaddrmsg message{};
  message.ifa_family = AF_INET;
  message.ifa_prefixlen = kPrefixBits;
  message.ifa_index = index;
  const std::uint32_t broadcast = address | htonl((1u << (32 - kPrefixBits)) - 1);
  Request request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
  request.body(message).attribute(IFA_LOCAL, address).attribute(IFA_ADDRESS, address).attribute(IFA_BROADCAST, broadcast);
  return request;
}

Request add_default_route(unsigned index, std::uint32_t gateway) {
  rtmsg message{};
  message.rtm_family = AF_INET;
  message.rtm_table = RT_TABLE_MAIN;
  message.rtm_protocol = RTPROT_BOOT;
  message.rtm_scope = RT_SCOPE_UNIVERSE;
  message.rtm_type = RTN_UNICAST;
  Request request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
  request.body(message).attribute(RTA_GATEWAY, gateway).attribute(RTA_OIF, index);
  return request;
}

Request add_bridge(const std::string& name, const Mac& mac) {
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  // With an address of its own: else the bridge takes the lowest of its ports', and changes it whenever a node comes or goes.
  request.body(link(0, true)).attribute(IFLA_IFNAME, name).attribute(IFLA_ADDRESS, mac.data(), mac.size());
  const std::size_t info = request.begin(IFLA_LINKINFO);
  request.attribute(IFLA_INFO_KIND, "bridge", 6);
  request.end(info);
  return request;
}

Request add_veth(const std::string& name, const Mac& mac, const std::string& peer, int peer_namespace) {
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  request.body(link(0, true)).attribute(IFLA_IFNAME, name).attribute(IFLA_ADDRESS, mac.data(), mac.size());
  const std::size_t info = request.begin(IFLA_LINKINFO);
  request.attribute(IFLA_INFO_KIND, "veth", 4);
  const std::size_t data = request.begin(IFLA_INFO_DATA);
  const std::size_t other = request.begin(VETH_INFO_PEER);
  request.body(link(0, false)).attribute(IFLA_IFNAME, peer).attribute(IFLA_NET_NS_FD, static_cast<std::uint32_t>(peer_namespace));
  request.end(other);
  request.end(data);
  request.end(info);
  return request;
}

unsigned index_of(const std::string& name) {
  const unsigned index = ::if_nametoindex(name.c_str());
  if (index == 0) fail("there is no network device '{}'", name);
  return index;
}

Fd open_own_namespace() {
  Fd fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!fd) fail("cannot open '/proc/thread-self/ns/net': {}", errno_text(errno));
  return fd;
}

constexpr unsigned kLoopback = 1;  // its index in every namespace

}  // namespace

void make_bridge(const std::string& address) {
  Netlink kernel;
  kernel.require("bring loopback up", change_link(kLoopback));
  kernel.require("make the cluster's bridge", add_bridge(kBridge, mac_of(parse_address(address))));
  kernel.require("give the bridge its address", add_address(index_of(kBridge), parse_address(address)));
  // Always: without a way out, packets for the world then get "unreachable" at once rather than silence.
  const Fd forward(::open("/proc/sys/net/ipv4/ip_forward", O_WRONLY | O_CLOEXEC));
  if (!forward || ::write(forward.get(), "1", 1) != 1) fail("cannot write '/proc/sys/net/ipv4/ip_forward': {}", errno_text(errno));
}

void make_node_network(const NodeNetwork& network) {
  const Fd outside = open_own_namespace();
  if (::unshare(CLONE_NEWNET) != 0) fail("cannot make a network namespace: {}", errno_text(errno));
  try {
    Netlink kernel;
    kernel.require("bring loopback up", change_link(kLoopback));
    kernel.require("make a node's network device", add_veth("eth0", mac_of(parse_address(network.address)), network.link, outside.get()));
    const unsigned eth0 = index_of("eth0");
    kernel.require("give a node its address", add_address(eth0, parse_address(network.address)));
    kernel.require("give a node its default route", add_default_route(eth0, parse_address(network.gateway)));
    const Fd file(::open(network.path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0444));
    if (!file || ::mount("/proc/thread-self/ns/net", network.path.c_str(), nullptr, MS_BIND, nullptr) != 0) {
      fail("cannot name a network namespace '{}': {}", network.path.native(), errno_text(errno));
    }
  } catch (...) {
    ::setns(outside.get(), CLONE_NEWNET);
    throw;
  }
  if (::setns(outside.get(), CLONE_NEWNET) != 0) fail("cannot return from a network namespace: {}", errno_text(errno));
  Request join = change_link(index_of(network.link));
  join.attribute(IFLA_MASTER, index_of(kBridge));
  Netlink().require("join a node to the bridge", std::move(join));
}

void remove_node_network(const NodeNetwork& network) {
  // The device first, by name: the namespace's own end is slow.
  if (const unsigned index = ::if_nametoindex(network.link.c_str()); index != 0) {
    Request request(RTM_DELLINK, 0);
    request.body(link(index, false));
    Netlink().send(std::move(request));
  }
  ::umount2(network.path.c_str(), MNT_DETACH);
  ::unlink(network.path.c_str());
}

}  // namespace kiln::provider::local
