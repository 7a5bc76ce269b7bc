// A provider: a place where nodes run. cluster/ knows providers only through this.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
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

// A distribution's own image, which knows nothing of kiln: agent and modules are installed at launch.
struct StockImage {
  config::BaseSpec base;  // its suite
  std::string architecture;
  std::string os_id, os_version;  // as /etc/os-release has them
  std::string package_family;     // debian, rpm
  std::string user;               // whom it lets in by SSH, and who may do everything by sudo
  std::string modules_of;         // the image spec whose modules it gets
};

// Where the node's files come from.
struct ImageRef {
  std::string name, digest;
  std::vector<std::string> layer_keys;     // lowest first
  std::vector<std::string> layer_folders;  // lowest first; for providers on this machine
  std::string remote_id = {};              // the provider's own name for it, where it keeps images: ami-0123…
  std::optional<StockImage> stock = {};    // of which nothing is there yet but the distribution
};

// What is installed on machines of a stock image (bake/parcel.h), as far as they have to know it when they start.
struct ParcelRef {
  std::string sha256;
  std::map<std::string, std::string> files;  // what waits for it there, by name
};

struct NodeRequest {
  std::string name;
  std::string role;
  config::Resources resources;
};

struct CreateRequest {
  Cluster cluster;  // name, image, secret, lease_until, notes
  config::ClusterSpec spec;
  ImageRef image;
  std::vector<NodeRequest> nodes;        // masters first
  std::optional<ParcelRef> parcel = {};  // of a stock image
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

  // The image that a launch starts from, where the provider keeps its own; nothing where it takes layers of this machine's store.
  // Error when there is none of that name.
  virtual std::optional<ImageRef> find_image(const config::ClusterSpec& spec);
  // The target (image/targets.h) by which an image gets there; empty where layers of this machine's store are taken.
  virtual std::string image_target() const { return {}; }

  // What create() would ask for, as {"operation", "parameters"} each, without secrets; makes nothing. Empty where nothing is asked of
  // others. Errors as create()'s, as far as they can be seen.
  virtual Json preview(const CreateRequest& /*request*/) { return Json::array(); }
  // Asks for network and machines, side by side, and returns when they are on their way, with names and addresses. Error when the name is
  // taken. Until commit() the cluster removes itself if this process dies. On failure nothing is left.
  virtual Cluster create(const CreateRequest& request) = 0;
  // Goes on with a create() whose process died before commit(): what is there is taken over, what is missing is asked for, as `request`
  // says (`request.cluster` has the secret, the times and the name of what find() gave). UsageError where that is not possible, or when it
  // was another launch than this one.
  virtual Cluster resume(const CreateRequest& request);
  // Gives the parcel to the masters of a cluster that stands on a stock image, where the other nodes get it, and returns when it is
  // installed there. Error with what the master said, or after `timeout`.
  virtual void deliver(const std::string& cluster, const std::filesystem::path& parcel, std::chrono::milliseconds timeout);
  // The launch succeeded: the cluster is now on its own; `notes` are stored.
  virtual void commit(const std::string& name, const Json& notes) = 0;

  // As create() for more nodes of a running cluster. Returns the new ones.
  virtual std::vector<Node> add_nodes(const std::string& cluster, const std::vector<NodeRequest>& nodes, const CreateRequest& how) = 0;
  // Removes machines and what is theirs. Absent is fine.
  virtual void remove_nodes(const std::string& cluster, const std::vector<std::string>& nodes) = 0;

  // A new machine in the place of a master that is gone or given up, with its name and, for the others, its address. Returns when it is on
  // its way. Error where that cannot be.
  virtual Node replace_master(const std::string& cluster, const std::string& master, const CreateRequest& how);

  // How long the agent of a machine that was just started may take until it answers.
  virtual std::chrono::milliseconds boot_time() const { return std::chrono::seconds(10); }
  // Why a node ended, or does not answer, as far as can be told: lines for people; empty when nothing is known.
  virtual std::string explain(const std::string& /*cluster*/, const std::string& /*node*/) { return {}; }
  // A connected stream to a port of a node. Error after `timeout`, or at once when the cluster does not run.
  virtual Fd connect(const std::string& cluster, const std::string& node, int port, std::chrono::milliseconds timeout) = 0;
  // Makes the node's port reachable from this host until the cluster ends: "127.0.0.1:41234". The same answer for the same port.
  virtual std::string forward(const std::string& cluster, const std::string& node, int port) = 0;

  // A SOCKS5 proxy on this machine whose connections start at the first master, where nodes' names are known: "127.0.0.1:1080". It holds
  // until the cluster ends or stops; asked again, the same one. `port` 0: any. Empty where nodes have no SSH.
  virtual std::string socks_proxy(const std::string& /*cluster*/, int /*port*/) { return {}; }

  // The command line of an SSH client that runs `command` on a node (none: a shell); empty where nodes have no SSH.
  virtual std::vector<std::string> ssh_command(const std::string& /*cluster*/, const std::string& /*node*/,
                                               const std::vector<std::string>& /*command*/) {
    return {};
  }

  // Machines off, disks kept; the caller has asked the agents to stop services. Stopped already is fine.
  virtual void stop(const std::string& cluster) = 0;
  // The machines of a stopped (or lost) cluster again, with their old disks and, if the provider can, addresses.
  virtual Cluster start(const std::string& cluster, const CreateRequest& how) = 0;
  // Everything of it. Absent is fine. Works for a cluster in any state, also a half-made one.
  virtual void destroy(const std::string& cluster) = 0;
  // What a crash left; removed unless `dry_run`.
  virtual std::vector<Leftover> collect_garbage(bool dry_run) = 0;
};

// Whether to ask a provider what it has takes a network, and credentials that may have expired.
enum class Reach { kHere, kRemote };

// Providers register by name: `static RegisterProvider local{"local", "this machine", Reach::kHere, [] { … }};`
struct ProviderEntry {
  std::string name, doc;
  Reach reach;
  std::function<std::unique_ptr<Provider>()> make;
};
struct RegisterProvider {
  RegisterProvider(std::string name, std::string doc, Reach reach, std::function<std::unique_ptr<Provider>()> make);
};
// Those of this machine first, so that whoever looks for a cluster asks them before any cloud; then by name.
const std::vector<ProviderEntry>& providers();
// UsageError with the nearest name when there is none.
std::unique_ptr<Provider> make_provider(const std::string& name);

}  // namespace kiln::provider
