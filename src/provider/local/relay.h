// Carries bytes between sockets that listen on the host and ports of nodes: `kiln ui`.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace kiln::provider::local {

// One thread for all of them, started with the first; it ends with the process.
class Relays {
 public:
  Relays();
  // From now on every connection to `listener` goes to address:port.
  void add(Fd listener, const std::string& address, int port);

 private:
  struct Listener {
    Fd socket;
    std::string address;
    int port = 0;
  };
  void serve();

  std::mutex lock_;
  std::vector<Listener> fresh_;  // not yet seen by the thread
  Fd wake_;
  bool started_ = false;
};

}  // namespace kiln::provider::local
