#include "node/document_source.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/files.h"

namespace kiln::node {

namespace {

using std::chrono::milliseconds;

// Wakes up when an address or a route comes, so that nobody has to look again and again for a network.
class NetworkChanges {
 public:
  NetworkChanges() : socket_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE)) {
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE;
    if (socket_ && ::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) socket_.reset();
  }
  // Until a change or for so long; without the socket (a container may forbid it) for so long.
  void wait(milliseconds at_most) {
    pollfd entry{socket_ ? socket_.get() : -1, POLLIN, 0};
    ::poll(&entry, 1, static_cast<int>(at_most.count()));
    char message[8192];
    while (socket_ && ::recv(socket_.get(), message, sizeof message, 0) > 0) {
    }
  }

 private:
  Fd socket_;
};

Metadata wait_for_metadata(const std::filesystem::path& file, const MetadataSearch& search) {
  // A refused or unanswered request is sent again after 0.1, 0.2, 0.4, 0.8 s and then each second: 2 s for an attempt that
  // hangs and 1 s of pause are some 40 attempts within the limit, and what comes up is noticed within a second.
  milliseconds pause{100};
  const auto deadline = Clock::now() + search.limit;
  NetworkChanges changes;
  std::string told;
  for (;;) {
    try {
      return read_metadata(search.service);
    } catch (const NoAnswer& error) {
      if (Clock::now() + pause >= deadline) {
        fail("no node document: there is no '{}', and the metadata service at {} gave none within {} s: {}", file.native(), search.service,
             std::chrono::ceil<std::chrono::seconds>(search.limit).count(), error.message());
      }
      if (error.message() != told) search.tell(fmt::format("waiting for the metadata service at {}: {}", search.service, error.message()));
      told = error.message();
    }
    changes.wait(pause);
    pause = std::min(pause * 2, milliseconds(1000));
  }
}

}  // namespace

config::NodeDocument read_document(const std::filesystem::path& file) {
  const std::string text = read_file(file);
  return with_context("reading the node document '" + file.native() + "'", [&] { return config::parse_node_document(text); });
}

config::NodeDocument find_document(const Paths& paths, const MetadataSearch& search) {
  const auto file = paths.etc("kiln/node.json");
  std::error_code error;
  if (std::filesystem::exists(file, error)) {
    auto document = read_document(file);
    search.tell(fmt::format("node document from '{}': {} of cluster '{}'", file.native(), document.node, document.cluster));
    return document;
  }
  const auto found = wait_for_metadata(file, search);
  auto document = with_context("reading the node document from " + found.cloud + "'s metadata service",
                               [&] { return config::parse_node_document(found.document, found.machine); });
  search.tell(fmt::format("node document from {}'s metadata service (instance {}, {}): {} of cluster '{}'", found.cloud, found.machine.id,
                          found.machine.address, document.node, document.cluster));
  return document;
}

}  // namespace kiln::node
