// A provider: a place where nodes run. cluster/ knows providers only through this.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/json.h"
#include "config/cluster_spec.h"
#include "config/node_document.h"

namespace kiln::provider {

struct Node {
  std::string name;  // master-1, worker-3
  std::string role;
  std::string address;
  config::Resources resources;  // as given
  bool running = false;
};

enum class State { kCreating, kRunning, kStopped, kLost };
std::string_view state_name(State state);

struct Cluster {
  std::string name;
  std::string provider;
  State state = State::kLost;  // lost: its machines are gone though nobody destroyed it (the host was restarted)
  std::int64_t created = 0;
  std::optional<std::int64_t> lease_until;
  std::string image;  // name
  std::string image_digest;
  std::string secret;  // hex; only whoever may manage the cluster can read it
  std::vector<Node> nodes;
  Json notes = Json::object();  // what cluster/ wants to keep with it (spec, modules, timeline); stored as given
};

// Where the node's files come from.
struct ImageRef {
  std::string name, digest;
  std::vector<std::string> layer_keys;     // lowest first
  std::vector<std::string> layer_folders;  // lowest first; for providers on this machine
};

struct NodeRequest {
  std::string name;
  std::string role;
  config::Resources resources;
};

struct CreateRequest {
  Cluster cluster;  // name, image, secret, lease_until, notes
  ImageRef image;
  std::vector<NodeRequest> nodes;  // masters first
  // The document of a node, once the addresses are known that it needs; called for every node.
  std::function<config::NodeDocument(const Node& node, const std::vector<Node>& known)> document;
};

struct Leftover {
  std::string what;  // "cluster demo: interrupted launch", "mount …"
  bool removed = false;
};

class Provider {
 public:
  virtual ~Provider() = default;

  // Every cluster that exists in any state, from the provider's own truth. Never throws for a single broken one: it is `lost`.
  virtual std::vector<Cluster> list() = 0;
  // Nothing when there is none.
  virtual std::optional<Cluster> find(const std::string& name) = 0;

  // Asks for network and machines, side by side, and returns when they are on their way, with names and addresses. Error when the name is
  // taken. Until commit() the cluster removes itself if this process dies. On failure nothing is left.
  virtual Cluster create(const CreateRequest& request) = 0;
  // The launch succeeded: the cluster is now on its own; `notes` are stored.
  virtual void commit(const std::string& name, const Json& notes) = 0;

  // As create() for more nodes of a running cluster. Returns the new ones.
  virtual std::vector<Node> add_nodes(const std::string& cluster, const std::vector<NodeRequest>& nodes, const CreateRequest& how) = 0;
  // Removes machines and what is theirs. Absent is fine.
  virtual void remove_nodes(const std::string& cluster, const std::vector<std::string>& nodes) = 0;

  // A connected stream to a port of a node. Error after `timeout`, or at once when the cluster does not run.
  virtual Fd connect(const std::string& cluster, const std::string& node, int port, std::chrono::milliseconds timeout) = 0;
  // Makes the node's port reachable from this host until the cluster ends: "127.0.0.1:41234". The same answer for the same port.
  virtual std::string forward(const std::string& cluster, const std::string& node, int port) = 0;

  // Machines off, disks kept; the caller has asked the agents to stop services. Stopped already is fine.
  virtual void stop(const std::string& cluster) = 0;
  // The machines of a stopped (or lost) cluster again, with their old disks and, if the provider can, addresses.
  virtual Cluster start(const std::string& cluster, const CreateRequest& how) = 0;
  // Everything of it. Absent is fine. Works for a cluster in any state, also a half-made one.
  virtual void destroy(const std::string& cluster) = 0;
  // What a crash left; removed unless `dry_run`.
  virtual std::vector<Leftover> collect_garbage(bool dry_run) = 0;
};

// Providers register by name: `static RegisterProvider local{"local", "this machine", [] { … }};`
struct ProviderEntry {
  std::string name, doc;
  std::function<std::unique_ptr<Provider>()> make;
};
struct RegisterProvider {
  RegisterProvider(std::string name, std::string doc, std::function<std::unique_ptr<Provider>()> make);
};
const std::vector<ProviderEntry>& providers();
// UsageError with the nearest name when there is none.
std::unique_ptr<Provider> make_provider(const std::string& name);

}  // namespace kiln::provider
