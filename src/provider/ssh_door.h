// The way into a cluster in a cloud: SSH to one of its machines, and from there to any port of any node. Only OpenSSH's client is used, as
// a stream of bytes (`ssh -W`); what travels in it is the agents' own channel.
//
// - Keys and the host key follow from the cluster's secret (ssh_keys.h): checked strictly from the first connection, nothing is
//   ever asked or learnt. The user's own SSH settings are not read.
// - Connections share one SSH session, which ends ten minutes after the last.
//
//   FOLDER/key, FOLDER/known_hosts    made anew when they are missing; 0600
//   FOLDER/s-…                        sockets of shared sessions
//   FOLDER/socks                      the port of the SOCKS proxy that was started last
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"

namespace kiln::provider {

// The machine that answered has another key than the cluster's: somebody is in between, or the address is another's by now.
class WrongHost : public Error {
 public:
  using Error::Error;
};

class SshDoor {
 public:
  struct Host {
    std::string address;
    int port = 22;
    std::string user = "root";
  };
  // `folder` is made when missing, 0700.
  SshDoor(std::filesystem::path folder, std::string cluster, std::string_view secret);

  // A stream to `port` of `address` as `host` sees it, once something has come from there (agents speak first). Tried again until
  // `timeout`: machines that boot refuse at first. WrongHost at once.
  Fd connect(const Host& host, const std::string& address, int port, std::chrono::milliseconds timeout) const;

  // Makes `port` of `address` reachable here, for as long as the machine is; gives "127.0.0.1:41234".
  std::string forward(const Host& host, const std::string& address, int port) const;

  // Runs `command` on `host`, fed with the file `input`, and waits for its end. Exit code 255: it could not be reached. WrongHost at once.
  ProcessResult feed(const Host& host, const std::vector<std::string>& command, const std::filesystem::path& input) const;

  // A SOCKS5 proxy here, whose connections start at `host`; held as forward()'s. One for a door: that which there is is given again, unless
  // another port is asked for (0: any). Gives "127.0.0.1:1080".
  std::string socks_proxy(const Host& host, int port) const;

  // What runs `command` on a machine of the cluster (none: a shell), for a user's terminal: on `host` itself, or on the one that it sees at
  // `address`.
  std::vector<std::string> command_line(const Host& host, const std::string& address, const std::vector<std::string>& command) const;

  // Ends the shared sessions and forwarded ports of the door in `folder`. Never throws.
  static void close(const std::filesystem::path& folder);

 private:
  std::vector<std::string> options(const Host& host, const std::string& session) const;
  std::filesystem::path session_socket(const Host& host, const std::string& session) const;

  std::filesystem::path folder_;
  std::string cluster_;
};

}  // namespace kiln::provider
