// How kiln talks to a running cluster's keeper: the socket HOME/clusters/NAME/control, one request a connection, JSON lines
// (container/line_socket.h), some with a descriptor. The keeper answers only to its own user (SO_PEERCRED).
//
//   {"do":"status"}                         {"committed":bool,"nodes":{NAME:running},"way_out":bool}
//   {"do":"connect","node":N}               {"address":A} and an unconnected TCP socket of the cluster's network: connect it to A
//   {"do":"forward","node":N,"port":P}      with a listening socket of the host → {"at":"127.0.0.1:41234"}, the one in use
//   {"do":"commit","notes":{…}}             {"done":true}: from here on the cluster is on its own
//   {"do":"add","nodes":[{"name","role","address","cpus","memory_bytes","document"}]}   {"done":true} when they run; all or none
//   {"do":"remove","nodes":[NAME…]}         {"done":true} when they and their files are gone
//   {"do":"stop"}                           {"done":true} when all nodes have ended; then the keeper ends
//   anything that fails                     {"error":{"message","context","hint","exit_code"}}
//
// There is no "destroy": that kills the keeper, which works also for one that doesn't answer.
#pragma once

#include <netinet/in.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "base/fd.h"
#include "container/line_socket.h"

namespace kiln::provider::local {

// Listens at FOLDER/control, whatever the length of the path.
Fd listen_for_control(const std::filesystem::path& folder);
// Nothing when nobody listens there.
std::optional<container::LineSocket> connect_control(const std::filesystem::path& folder);

// One request and its answer. Error: what the keeper says; that there is none ("cluster 'demo' does not run"); `timeout`. Interrupted.
// `pass` is sent along; `received` gets the descriptor that came with the answer.
Json ask(const std::filesystem::path& folder, const Json& request, std::chrono::milliseconds timeout, int pass = -1,
         Fd* received = nullptr);

// The process that listens at FOLDER/control, as a pidfd(2); nothing when there is none.
Fd keeper_process(const std::filesystem::path& folder);

sockaddr_in socket_address(const std::string& address, int port);

}  // namespace kiln::provider::local
