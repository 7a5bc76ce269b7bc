// The nodes' way to the world, where the host has one: slirp4netns(1) between the keeper's network namespace and the host's. It is a
// program that opens connections for them, so nothing in the host's own network is changed and no root is needed.
#pragma once

#include "base/fd.h"

namespace kiln::provider::local {

// True when the host has a default route, slirp4netns and nft are installed and /dev/net/tun may be used. To be asked in the host's network
// namespace.
bool host_has_way_out();

class WayOut {
 public:
  // Starts a process that stays in the network namespace of now; call before leaving it, with one thread.
  void prepare();
  // Lets it go: nodes' packets leave in its name, some 50 ms later. Returns at once; does nothing when not prepared.
  void open();

 private:
  Fd go_;
};

}  // namespace kiln::provider::local
