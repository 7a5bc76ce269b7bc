// Networks that outlive clusters: made once, shared by many that come and go. Not every provider has them.
//
// cli/ knows networks only through this; a provider registers what it has beside its nodes (provider.h).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace kiln::provider {

// Where, and as whom; empty: as the provider's own tools find it.
struct NetworkPlace {
  std::string region;
  std::string profile;
};

struct NetworkRequest {
  std::string name;
  std::string cidr = {};                // empty: what the network has, or the provider's default
  std::vector<std::string> zones = {};  // empty: what was asked for when it was made, or all
  bool dry_run = false;                 // change nothing
};

struct NetworkPart {
  std::string kind;  // "subnet"
  std::string id;
  std::string zone;  // where it is in one
  std::string cidr;  // where it has one
  std::string note;  // for people: "public", "4091 addresses free"
};

struct Network {
  std::string name;  // empty: one that kiln did not make
  std::string id;    // the provider's; empty when only parts are left of it
  std::string region;
  std::string cidr;
  std::vector<NetworkPart> parts;    // what is kiln's (of a network that kiln did not make: all that clusters use)
  std::vector<NetworkPart> others;   // what somebody else put into it
  std::vector<std::string> missing;  // what it lacks to be whole, or for clusters to work in it; in words
  std::vector<std::string> advice;   // what would make it better
  std::vector<std::string> users;    // who is in it: "cluster 'demo' (3 instances)"
};

struct NetworkChange {
  Network network;
  std::vector<std::string> done;  // what was made, changed or removed (on a dry run: would be), in words
};

struct NetworkRemoval {
  bool was_there = false;
  std::vector<std::string> removed;  // in words
  std::vector<std::string> left;     // what stays, and why
};

struct NetworkSummary {
  std::string name, id, cidr;
  std::size_t parts = 0;
};

class Networks {
 public:
  virtual ~Networks() = default;

  // Makes what is missing; a network that is whole is not touched. Killed at any moment, the next call goes on. Two at once make one.
  // UsageError for a CIDR or zones that cannot be; Error when the provider refuses.
  virtual NetworkChange create(const NetworkRequest& request) = 0;
  // Nothing when there is none of that name.
  virtual std::optional<Network> find(const std::string& name) = 0;
  // One that somebody else made, by the provider's id. Only looked at. UsageError when there is none.
  virtual Network find_by_id(const std::string& id) = 0;
  virtual std::vector<NetworkSummary> list() = 0;
  // Removes what is kiln's. Error, naming who, while anybody is in it. What others put there stays, and what that stands on.
  virtual NetworkRemoval destroy(const std::string& name, bool dry_run) = 0;
  // The network as Terraform's language writes it, with import blocks: nothing is made again. By name or, where that is empty, by id.
  virtual std::string to_terraform(const std::string& name, const std::string& id) = 0;
};

struct RegisterNetworks {
  RegisterNetworks(std::string provider, std::function<std::unique_ptr<Networks>(const NetworkPlace&)> make);
};
// The providers that have networks, by name.
std::vector<std::string> providers_with_networks();
// UsageError for a provider without.
std::unique_ptr<Networks> make_networks(const std::string& provider, const NetworkPlace& place);

}  // namespace kiln::provider
