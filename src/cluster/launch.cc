#include "cluster/launch.h"

#include <algorithm>

#include "base/activity.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/strings.h"
#include "cluster/deploy_root.h"
#include "cluster/launch_image.h"
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
Json make_notes(const LaunchImage& ground, const config::ClusterSpec& spec) {
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
  for (const auto& layer : ground.image.layers) layers.push_back(layer.key);
  return {{"spec", config::cluster_spec_to_json(spec)},
          {"modules", modules},
          {"module_params", given},
          {"layers", layers},
          {"added", ground.added},
          {"builtins", bake::builtins_of(ground.image)}};
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
  request.image = std::move(image);
  request.nodes = std::move(nodes);
  request.document = [cluster, params = params_from_notes(cluster.notes)](const provider::Node& node,
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
    return document;
  };
  return request;
}

// The layers that the cluster was launched from; they stay in the store as long as it has them, whatever becomes of the image's name.
provider::ImageRef image_of(const provider::Cluster& cluster) {
  const bake::Store store;
  provider::ImageRef ref{cluster.image, cluster.image_digest, cluster.notes.value("layers", std::vector<std::string>()), {}};
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

// All masters' agents pass the list on to every node, whose hosts files follow.
void tell_roster(Session& session) {
  Json nodes = Json::array();
  for (const auto& node : session.cluster().nodes) nodes.push_back({{"name", node.name}, {"role", node.role}, {"address", node.address}});
  session.ask({{"do", "nodes"}, {"nodes", nodes}});
}

}  // namespace

LaunchResult launch(const LaunchOptions& options) {
  config::check_cluster_spec(options.spec);
  if (options.spec.deploy_root && !fs::is_directory(*options.spec.deploy_root)) {
    fail_usage("--deploy-root {}: No such folder", options.spec.deploy_root->native());
  }
  Recording recording(fmt::format("launch {}", options.spec.name));
  const double started = now_in_seconds();

  // Nothing exists yet: whatever is wrong with names, image or parameters is found here.
  auto provider = provider::make_provider(options.spec.provider);
  // One that is being made may be a killed launch's, about to go: create() waits for that, and refuses what stays.
  if (const auto present = provider->find(options.spec.name); present && present->state != provider::State::kCreating) {
    UsageError error(fmt::format("there is a cluster '{}' already", options.spec.name));
    error.set_hint(fmt::format("`kiln status {0}` shows it, `kiln destroy {0}` removes it", options.spec.name));
    throw error;
  }
  bake::Store store;
  LaunchImage ground = image_for_launch(store, options.spec, options.bake);

  provider::Cluster cluster;
  cluster.name = options.spec.name;
  cluster.provider = options.spec.provider;
  cluster.created = static_cast<std::int64_t>(started);
  cluster.image = ground.image.name;
  cluster.image_digest = ground.image.digest;
  cluster.secret = random_hex(32);
  if (options.spec.ttl) cluster.lease_until = cluster.created + options.spec.ttl->count();
  cluster.notes = make_notes(ground, options.spec);

  {
    // On failure it leaves nothing itself; destroying by name here could hit somebody else's cluster that took the name just now.
    Activity machines("machines");
    cluster = provider->create(create_request(cluster, image_of(cluster), node_requests(options.spec)));
  }
  ground.in_use.reset();
  // From here on there is something to remove.
  Session session(std::move(provider), cluster);
  try {
    wait_until_ready(session, names_of(cluster.nodes), started);
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

Timeline resize(Session& session, int workers) {
  if (workers < 0 || workers > 5000) fail_usage("--workers {}: a cluster has 0 to 5000 workers", workers);
  const provider::Cluster before = session.cluster();
  Recording recording(fmt::format("resize {} to {} workers", before.name, workers));
  const double started = now_in_seconds();
  std::vector<std::string> present = session.workers();
  // Numbers, not names, decide: worker-10 goes before worker-9.
  std::sort(present.begin(), present.end(), [](const auto& a, const auto& b) { return std::pair(a.size(), a) < std::pair(b.size(), b); });

  const auto wanted = static_cast<std::size_t>(workers);
  if (wanted < present.size()) {
    const std::vector<std::string> leaving(present.begin() + workers, present.end());
    {
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
    std::vector<provider::Node> nodes;
    {
      Activity machines("machines");
      nodes = session.provider().add_nodes(before.name, added, how);
    }
    try {
      session.refresh();
      tell_roster(session);
      wait_until_ready(session, names_of(nodes), started);
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
  const double started = now_in_seconds();
  {
    Activity machines("machines");
    session.provider().start(before.name, create_request(before, image_of(before), {}));
  }
  session.refresh();
  try {
    wait_until_ready(session, names_of(session.cluster().nodes), started);
  } catch (Error&) {
    {
      const Undisturbed undisturbed;
      session.provider().stop(before.name);  // as it was before: stopped, its disks whole
    }
    throw_if_interrupted();
    throw;
  }
  Timeline timeline = recording.finish();
  Json notes = before.notes;
  notes["timeline"] = timeline.to_json();
  session.provider().commit(before.name, notes);
  session.refresh();
  return timeline;
}

bool destroy(const std::string& name) {
  config::check_cluster_name(name);
  bool there = false;
  for (const auto& entry : provider::providers()) {
    auto provider = entry.make();
    there = provider->find(name).has_value() || there;
    provider->destroy(name);  // also what find() does not show: a half-made one
  }
  return there;
}

}  // namespace kiln::cluster
