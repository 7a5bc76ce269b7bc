// What is written down about a local cluster, and what of it is true right now.
//
//   HOME/clusters/NAME/             0700
//     cluster.json                  the record, 0600: struct Record
//     lock                          locked (OFD, fcntl(2)) from the first moment of a launch until the keeper's last: who has it is
//                                   alive; the kernel frees it, so it cannot be stale. Tested with F_OFD_GETLK, which takes nothing
//     control                       the keeper's socket (control.h)
//     keeper.log                    what the keeper had to say
//     nodes/NODE/{upper,work}       the node's own files over the image's layers
//     nodes/NODE/console.log        what its agent wrote
//   HOME/clusters/.lock             held for the moments in which names are taken and given back
//   HOME/clusters/.gone-XXXXXX      a removed cluster, on its way out
//
// The state that kiln tells is derived: locked and committed: running; locked: creating; else as recorded, where `running` without a
// keeper means lost. A folder without a keeper whose launch was never committed is a leftover, which nobody is shown but `kiln gc`.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "provider/provider.h"

namespace kiln::provider::local {

struct Record {
  Cluster cluster;                                     // state: creating (never committed), running or stopped
  std::vector<std::string> layer_keys, layer_folders;  // lowest first
  std::string subnet = "10.88";                        // of /16: the first half of every address
  unsigned next_host = 2;                              // addresses are not given twice until all were given once
  std::string cgroup;                                  // "/kiln/NAME-HASH"; empty: no limits (ordinary user)
};

Json record_to_json(const Record& record);
Record record_from_json(const Json& json);

std::filesystem::path clusters_folder();
std::filesystem::path cluster_folder(const std::string& name);

// Nothing when there is none; Error when it can't be read or makes no sense.
std::optional<Record> load_record(const std::filesystem::path& folder);
// Atomic. Not synced to disk: after a power cut the machines are gone anyway, and syncing would cost a launch 10–20 ms.
void save_record(const std::filesystem::path& folder, const Record& record);

// The cluster's lock, or nothing when somebody has it.
std::optional<Fd> try_lock(const std::filesystem::path& folder);
bool is_locked(const std::filesystem::path& folder);

// "10.88" and 258 → "10.88.1.2"
std::string address_of(const std::string& subnet, unsigned host);
// Takes the next free address of the record's subnet. Error when all 65,000 are taken.
std::string take_address(Record& record);
// Half of an address range (/16) of which `routes` (the text of /proc/net/route) know nothing, so that nodes reach what the host reaches.
std::string choose_subnet(const std::string& routes);
// True when /proc/net/route's text has a default route.
bool has_default_route(const std::string& routes);

// What a node gets when nothing was asked for: all processors, and an equal share of three quarters of what memory is available
// (the rest is for the host and for caches), in steps of 64 MiB, at least 1 GiB.
config::Resources share_of_machine(config::Resources asked, std::size_t nodes, unsigned processors, std::int64_t available_bytes);
std::int64_t available_memory_bytes();

}  // namespace kiln::provider::local
