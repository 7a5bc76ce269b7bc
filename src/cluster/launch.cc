#include "cluster/launch.h"

#include <algorithm>

#include "base/activity.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/strings.h"
#include "cluster/deploy_root.h"
#include "cluster/drain.h"
#include "cluster/kept_image.h"
#include "cluster/launch_image.h"
#include "cluster/recreate.h"
#include "cluster/watch.h"

namespace kiln::cluster {

namespace {

// Records a timeline for as long as it lives.
class Recording {
 public:
  explicit Recording(std::string title) : recorder_(std::make_shared<TimelineRecorder>(std::move(title))) { add_sink(recorder_); }
  ~Recording() { remove_sink(recorder_); }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  Timeline finish() { return recorder_->finish(); }

 private:
  std::shared_ptr<TimelineRecorder> recorder_;
};

std::vector<provider::NodeRequest> node_requests(const config::ClusterSpec& spec) {
  std::vector<provider::NodeRequest> nodes;
  for (int i = 1; i <= spec.masters; ++i) nodes.push_back({fmt::format("master-{}", i), "master", spec.master.value_or(spec.node)});
  for (int i = 1; i <= spec.workers; ++i) nodes.push_back({fmt::format("worker-{}", i), "worker", spec.node});
  return nodes;
}

// What is kept with the cluster so that later commands need neither image nor spec.
Json make_notes(const LaunchImage& ground, const config::ClusterSpec& spec, const std::optional<provider::ImageRef>& remote) {
  Json modules = Json::array();
  for (const auto& module : ground.image.modules) {
    config::Values values = module.params;
    for (const auto& given : ground.params) {
      if (given.name != module.manifest.name) continue;
      for (const auto& [name, value] : given.params) values[name] = value;
    }
    modules.push_back({{"manifest", config::module_to_json(module.manifest)}, {"params", values}});
  }
  Json given = Json::array();
  for (const auto& module : ground.params) given.push_back({{"name", module.name}, {"params", module.params}});
  Json layers = Json::array();  // roots for `kiln image gc`
  if (!remote) {
    for (const auto& layer : ground.image.layers) layers.push_back(layer.key);
  }
  Json notes = {{"spec", config::cluster_spec_to_json(spec)},
                {"modules", modules},
                {"module_params", given},
                {"layers", layers},
                {"added", ground.added},
                // Of a provider's image that was baked elsewhere nothing is known here.
                {"builtins", ground.image.spec.is_null() ? config::Values() : bake::builtins_of(ground.image)}};
  if (remote) notes["remote_image"] = remote->remote_id;
  if (ground.parcel) notes["parcel"] = {{"sha256", ground.parcel->sha256}, {"files", ground.parcel->files}};
  return notes;
}

std::vector<config::NodeDocument::ModuleParams> params_from_notes(const Json& notes) {
  std::vector<config::NodeDocument::ModuleParams> params;
  for (const auto& entry : notes.value("module_params", Json::array())) {
    params.push_back({entry.at("name").get<std::string>(), entry.at("params").get<config::Values>()});
  }
  return params;
}

// The request from which the provider makes each node's document; for launch, and again for resize and start.
provider::CreateRequest create_request(const provider::Cluster& cluster, provider::ImageRef image,
                                       std::vector<provider::NodeRequest> nodes) {
  provider::CreateRequest request;
  request.cluster = cluster;
  // A master that does not run yet keeps its notes to itself.
  if (cluster.notes.contains("spec")) request.spec = config::cluster_spec_from_json(cluster.notes.at("spec"));
  request.image = std::move(image);
  request.nodes = std::move(nodes);
  if (cluster.notes.contains("parcel")) {
    const Json& parcel = cluster.notes.at("parcel");
    request.parcel = {parcel.at("sha256").get<std::string>(), parcel.at("files").get<std::map<std::string, std::string>>()};
  }
  request.document = [cluster, params = params_from_notes(cluster.notes), spec = request.spec](const provider::Node& node,
                                                                                               const std::vector<provider::Node>& known) {
    config::NodeDocument document;
    document.cluster = cluster.name;
    document.node = node.name;
    document.role = node.role;
    document.address = node.address;
    for (const auto& other : known) document.nodes.push_back({other.name, other.role, other.address});
    document.modules = params;
    document.cpus = node.resources.cpus;
    document.memory_bytes = node.resources.memory_bytes;
    document.secret = cluster.secret;
    document.lease_until = cluster.lease_until;
    document.idle = spec.idle;
    document.swap_bytes = spec.swap_bytes;
    document.user_data = spec.user_data;
    return document;
  };
  return request;
}

// The layers that the cluster was launched from; they stay in the store as long as it has them, whatever becomes of the image's name.
provider::ImageRef image_of(const provider::Cluster& cluster) {
  const bake::Store store;
  const std::string remote = cluster.notes.value("remote_image", "");
  if (!remote.empty() || cluster.notes.empty()) return {cluster.image, cluster.image_digest, {}, {}, remote};
  provider::ImageRef ref{cluster.image, cluster.image_digest, cluster.notes.value("layers", std::vector<std::string>()), {}, {}};
  for (const auto& key : ref.layer_keys) {
    if (!store.find_layer(key)) fail("layer {} of cluster '{}' is not in the store any more", key.substr(0, 12), cluster.name);
    ref.layer_folders.push_back(store.layer_folder(key).native());
  }
  return ref;
}

std::set<std::string> names_of(const std::vector<provider::Node>& nodes) {
  std::set<std::string> names;
  for (const auto& node : nodes) names.insert(node.name);
  return names;
}

// Those that run, and whose agent has been gone for longer than a restart takes.
std::set<std::string> silent_nodes(Session& session) {
  std::set<std::string> names;
  const Json status = session.ask({{"do", "status"}});
  for (const auto& node : status.value("nodes", Json::array())) {
    if (!node.value("connected", true) && node.value("last_seen", 0.0) > 0) names.insert(node.value("name", ""));
  }
  return names;
}

// All masters' agents pass the list on to every node, whose hosts files follow.
void tell_roster(Session& session) {
  Json nodes = Json::array();
  for (const auto& node : session.cluster().nodes) {
    if (node.address.empty()) continue;  // lost
    nodes.push_back({{"name", node.name}, {"role", node.role}, {"address", node.address}});
  }
  session.ask({{"do", "nodes"}, {"nodes", nodes}});
}

// A launch before anything was made.
struct Prepared {
  std::unique_ptr<provider::Provider> provider;
  std::optional<provider::ImageRef> remote;
  LaunchImage ground;
  provider::Cluster cluster;
};

// Whatever is wrong with names, image or parameters is found here.
Prepared prepare(const LaunchOptions& options, double now, bool is_preview) {
  const config::ClusterSpec& spec = options.spec;
  config::check_cluster_spec(spec);
  if (spec.deploy_root && !fs::is_directory(*spec.deploy_root)) fail_usage("--deploy-root {}: No such folder", spec.deploy_root->native());
  Prepared ready;
  ready.provider = provider::make_provider(spec.provider);
  ready.remote = ready.provider->find_image(spec);
  // One that is being made may be a killed launch's, about to go: create() waits for that, and refuses what stays.
  const auto present = ready.provider->find(spec.name);
  if (present && present->state != provider::State::kCreating) {
    UsageError error(fmt::format("there is a cluster '{}' already", spec.name));
    error.set_hint(fmt::format("`kiln status {0}` shows it, `kiln destroy {0}` removes it", spec.name));
    throw error;
  }
  if (options.resume && !present) {
    UsageError error(fmt::format("there is no launch of '{}' to go on with", spec.name));
    error.set_hint("without --resume a new one begins");
    throw error;
  }
  bake::Store store;
  if (ready.remote && ready.remote->stock) {
    ready.ground = stock_image_for_launch(store, spec, *ready.remote, options.bake, is_preview);
  } else if (ready.remote) {
    const auto keep = [&](const bake::Image& image) { return keep_image(store, *ready.provider, spec, image, options.bake); };
    ready.ground = remote_image_for_launch(store, spec, *ready.remote, options.bake, is_preview ? nullptr : KeepImage(keep));
  } else if (!is_preview) {  // it may have to be baked
    ready.ground = image_for_launch(store, spec, options.bake);
  } else {
    ready.ground.image.name = spec.image;
  }
  provider::Cluster& cluster = ready.cluster;
  cluster.name = spec.name;
  cluster.provider = spec.provider;
  cluster.created = static_cast<std::int64_t>(now);
  cluster.image = ready.ground.image.name;
  cluster.image_digest = ready.ground.image.digest;
  cluster.secret = random_hex(32);
  if (spec.ttl) cluster.lease_until = cluster.created + spec.ttl->count();
  if (options.resume) {
    // As its machines know it.
    cluster.created = present->created;
    cluster.lease_until = present->lease_until;
    if (!present->secret.empty()) cluster.secret = present->secret;
  }
  cluster.notes = make_notes(ready.ground, spec, ready.remote);
  return ready;
}

}  // namespace

provider::CreateRequest recreate_request(const provider::Cluster& cluster) { return create_request(cluster, image_of(cluster), {}); }

std::vector<std::string> lost_workers(Session& session) {
  const auto silent = silent_nodes(session);
  std::vector<std::string> lost;
  for (const auto& node : session.cluster().nodes) {
    if (node.role == "worker" && (!node.running || silent.count(node.name) != 0)) lost.push_back(node.name);
  }
  return lost;
}

Json preview(const LaunchOptions& options) {
  Prepared ready = prepare(options, now_in_seconds(), true);
  const provider::Cluster& cluster = ready.cluster;
  Json calls = Json::array();
  if (ready.remote) calls = ready.provider->preview(create_request(cluster, *ready.remote, node_requests(options.spec)));
  return {{"cluster", cluster.name},         {"provider", cluster.provider},    {"image", cluster.image},
          {"masters", options.spec.masters}, {"workers", options.spec.workers}, {"calls", calls}};
}

LaunchResult launch(const LaunchOptions& options) {
  Recording recording(fmt::format("launch {}", options.spec.name));
  const double started = now_in_seconds();
  auto [provider, remote, ground, cluster] = prepare(options, started, false);

  {
    // On failure it leaves nothing itself; destroying by name here could hit somebody else's cluster that took the name just now.
    Activity machines("machines");
    const auto request = create_request(cluster, remote ? *remote : image_of(cluster), node_requests(options.spec));
    cluster = options.resume ? provider->resume(request) : provider->create(request);
  }
  ground.in_use.reset();
  // From here on there is something to remove.
  Session session(std::move(provider), cluster);
  try {
    if (ground.parcel_file) {
      Activity installing("install modules on the masters");
      session.provider().deliver(cluster.name, ground.parcel_file->file, session.provider().boot_time());
    }
    // What is taken over may have become ready long ago.
    wait_until_ready(session, names_of(cluster.nodes), 0);
    if (options.spec.deploy_root) apply_deploy_root(session, *options.spec.deploy_root);
    Timeline timeline = recording.finish();
    cluster.notes["timeline"] = timeline.to_json();
    session.provider().commit(cluster.name, cluster.notes);
    session.refresh();
    return {session.cluster(), timeline};
  } catch (Error& error) {
    auto& owner = session.provider();
    if (options.keep_failed && error.exit_code() != ExitCode::kInterrupted) {
      owner.commit(cluster.name, cluster.notes);
      error.set_hint(fmt::format("kept, as you asked: `kiln logs {0}`, `kiln exec {0} -- sh`, `kiln destroy {0}`", cluster.name));
    } else {
      const Undisturbed undisturbed;
      owner.destroy(options.spec.name);
    }
    // What fails once a stop was asked for fails because of it, more often than not: the terminal tells every process of the group.
    throw_if_interrupted();
    throw;
  }
}

Timeline resize(Session& session, int workers, std::chrono::seconds drain_time) {
  if (workers < 0 || workers > 5000) fail_usage("--workers {}: a cluster has 0 to 5000 workers", workers);
  const provider::Cluster before = session.cluster();
  Recording recording(fmt::format("resize {} to {} workers", before.name, workers));
  const auto silent = silent_nodes(session);
  std::vector<std::string> present, down;
  for (const auto& node : before.nodes) {
    if (node.role == "worker") (node.running && silent.count(node.name) == 0 ? present : down).push_back(node.name);
  }
  // Numbers, not names, decide: worker-10 goes before worker-9.
  std::sort(present.begin(), present.end(), [](const auto& a, const auto& b) { return std::pair(a.size(), a) < std::pair(b.size(), b); });
  // What is left of those that were lost makes way for others of their name.
  if (!down.empty()) session.provider().remove_nodes(before.name, down);

  const auto wanted = static_cast<std::size_t>(workers);
  if (wanted < present.size()) {
    const std::vector<std::string> leaving(present.begin() + workers, present.end());
    {
      drain(session, leaving, drain_time);
      Activity removal(fmt::format("remove {}", join(leaving, ", ")));
      session.provider().remove_nodes(before.name, leaving);
    }
    session.refresh();
    tell_roster(session);
  } else if (wanted > present.size()) {
    const auto spec = config::cluster_spec_from_json(before.notes.at("spec"));
    std::vector<provider::NodeRequest> added;
    for (int number = 1; added.size() + present.size() < wanted; ++number) {
      const std::string name = fmt::format("worker-{}", number);
      if (std::find(present.begin(), present.end(), name) == present.end()) added.push_back({name, "worker", spec.node});
    }
    const auto how = create_request(before, image_of(before), added);
    const double since = time_there(session);
    std::vector<provider::Node> nodes;
    {
      Activity machines("machines");
      nodes = session.provider().add_nodes(before.name, added, how);
    }
    try {
      session.refresh();
      tell_roster(session);
      wait_until_ready(session, names_of(nodes), since);
      const auto joined = names_of(nodes);
      apply_deploy_root_to(session, {joined.begin(), joined.end()});
    } catch (Error&) {
      {
        const Undisturbed undisturbed;
        const auto names = names_of(nodes);
        session.provider().remove_nodes(before.name, {names.begin(), names.end()});
      }
      throw_if_interrupted();
      throw;
    }
  }
  Json notes = session.cluster().notes;
  notes["spec"]["workers"] = workers;
  session.provider().commit(before.name, notes);
  session.refresh();
  return recording.finish();
}

void stop(Session& session) {
  if (session.cluster().state == provider::State::kStopped) return;
  if (session.cluster().state == provider::State::kRunning) {
    try {
      session.ask({{"do", "stop"}, {"timeout", 20}});
    } catch (const Interrupted&) {
      throw;
    } catch (const Error& error) {
      say(fmt::format("services were not stopped in order: {}", error.message()));
    }
  }
  session.provider().stop(session.cluster().name);
  session.refresh();
}

Timeline start(Session& session) {
  const provider::Cluster before = session.cluster();
  Recording recording(fmt::format("start {}", before.name));
  if (before.state == provider::State::kRunning) return recording.finish();
  {
    Activity machines("machines");
    session.provider().start(before.name, create_request(before, image_of(before), {}));
  }
  session.refresh();
  try {
    wait_until_ready(session, names_of(session.cluster().nodes), 0);
  } catch (Error&) {
    {
      const Undisturbed undisturbed;
      session.provider().stop(before.name);  // as it was before: stopped, its disks whole
    }
    throw_if_interrupted();
    throw;
  }
  Timeline timeline = recording.finish();
  session.refresh();  // where a master has the notes, they can be read only now
  Json notes = session.cluster().notes.empty() ? before.notes : session.cluster().notes;
  notes["timeline"] = timeline.to_json();
  session.provider().commit(before.name, notes);
  session.refresh();
  return timeline;
}

bool destroy(const std::string& name) {
  config::check_cluster_name(name);
  // A cluster of this machine needs no cloud's consent.
  for (const auto& entry : provider::providers()) {
    auto provider = entry.make();
    if (!provider->find(name)) continue;
    provider->destroy(name);
    return true;
  }
  for (const auto& entry : provider::providers()) entry.make()->destroy(name);  // also what find() does not show: a half-made one
  return false;
}

}  // namespace kiln::cluster
