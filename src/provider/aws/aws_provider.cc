// The provider `aws`: clusters of EC2 instances. What exists is what EC2 says (record.h); nothing that is kept on this machine has to be
// there (account.h, launch_mark.h, ../ssh_door.h).
//
// A launch makes one security group, one rule set and one request for the masters, one for the workers, however many there are. The
// group comes first: its name is taken by one launcher only, and its tags are the cluster's record, `creating` until commit().
#include <algorithm>
#include <set>

#include "aws/wait.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/parallel.h"
#include "provider/aws/access.h"
#include "provider/aws/account.h"
#include "provider/aws/amis.h"
#include "provider/aws/fresh.h"
#include "provider/aws/garbage.h"
#include "provider/aws/instance_profile.h"
#include "provider/aws/launch_mark.h"
#include "provider/aws/machines.h"
#include "provider/aws/placement.h"
#include "provider/aws/preview.h"
#include "provider/aws/record.h"
#include "provider/aws/removal.h"
#include "provider/aws/replacement.h"
#include "provider/aws/traces.h"
#include "provider/provider.h"

namespace kiln::provider::on_aws {

namespace {

// Regions are asked side by side: a look into all of an account's takes as long as the farthest.
constexpr std::size_t kRegionsAtOnce = 16;

// A resumed launch has to be at its end when the machines' launch lease is.
constexpr std::chrono::minutes kTimeToResume{5};

// "worker-12" → 12.
int number_of(const std::string& node) { return std::stoi(node.substr(node.rfind('-') + 1)); }

int count_of(const std::vector<NodeRequest>& nodes, const std::string& role) {
  return static_cast<int>(std::count_if(nodes.begin(), nodes.end(), [&](const NodeRequest& node) { return node.role == role; }));
}

Json ids_of(const Record& record) {
  Json ids = Json::array();
  for (const auto& instance : record.instances) ids.push_back(instance.id);
  return ids;
}

Record new_record(const CreateRequest& request, const Place& place) {
  Record record;
  record.cluster = request.cluster;
  record.cluster.provider = "aws";
  record.cluster.state = State::kCreating;
  record.launch = random_hex(8);
  record.vpc_id = place.vpc_id;
  if (request.image.stock) record.user = request.image.stock->user;
  if (request.spec.aws.instance_profile == config::kMadeProfile) record.made_profile = profile_name(record);
  record.masters = count_of(request.nodes, "master");
  record.workers = count_of(request.nodes, "worker");
  return record;
}

class AwsProvider : public Provider {
 public:
  std::vector<Cluster> list() override {
    std::vector<Cluster> clusters;
    if (!account_.is_configured()) return clusters;
    for (auto& record : records_everywhere({})) clusters.push_back(std::move(record.second.cluster));
    return clusters;
  }

  std::optional<Cluster> find(const std::string& name) override {
    const auto record = locate(name);
    if (!record) return std::nullopt;
    Cluster cluster = record->cluster;
    cluster.secret = access_.secret_of(*record);
    if (cluster.state == State::kRunning) cluster.notes = access_.notes_of(*record);
    return cluster;
  }

  std::optional<ImageRef> find_image(const config::ClusterSpec& spec) override {
    account_.use(spec.aws.profile, spec.aws.region);
    is_located_ = true;  // a new cluster: what other regions have under its name is no concern of it
    return find_ami(account_.session(), spec.image, spec.aws);
  }

  std::string image_target() const override { return "ami"; }

  Json preview(const CreateRequest& request) override {
    check_user_data(request);
    const Place place = find_place(account_.session(), request.spec.aws);
    return preview_of(account_.ec2(), new_record(request, place), request, place);
  }

  Cluster create(const CreateRequest& request) override {
    check_user_data(request);
    const Place place = find_place(account_.session(), request.spec.aws);
    Record record = new_record(request, place);
    make_group(record);
    make_machines(record, request, place);
    return record.cluster;
  }

  // Only who knows that the launch's process has died may go on: on this machine, by its mark. The requests have the words of those that
  // the launch may have made, so that nothing is made twice, also when EC2 does not show it yet.
  Cluster resume(const CreateRequest& request) override {
    const std::string& name = request.cluster.name;
    Record record = require(name);
    check_resumable(record, request);
    const Place place = find_place(account_.session(), request.spec.aws);
    launching_.emplace(name, record.launch);
    account_.remember_place(name);
    record.cluster.secret = request.cluster.secret;
    make_machines(record, request, place);
    return record.cluster;
  }

  void deliver(const std::string& name, const fs::path& parcel, std::chrono::milliseconds timeout) override {
    access_.deliver(name, parcel, timeout);
  }

  // The notes are with the masters' agents, on their disks: too much for tags, and as lasting as the cluster. The lease comes last: until
  // then the machines end by themselves, whatever becomes of this process.
  void commit(const std::string& name, const Json& notes) override {
    const Record record = require(name);
    access_.tell_masters(record, {{"do", "keep"}, {"notes", notes}});  // any may be the one that is left
    access_.set_notes(record, notes);
    access_.keep_copies(record, notes);
    if (record.cluster.state == State::kCreating) set_tag(record, "kiln:state", "running");
    // What a resize that was killed has added counts now.
    if (const int workers = count_running(record, "worker"); workers > record.workers) count_workers(record, workers);
    const Json until = record.cluster.lease_until ? Json(*record.cluster.lease_until) : Json();
    access_.ask_master(record, {{"do", "lease"}, {"lease", {{"until", until}, {"version", static_cast<std::int64_t>(now_in_seconds())}}}});
    launching_.reset();
  }

  std::vector<Node> add_nodes(const std::string& name, const std::vector<NodeRequest>& nodes, const CreateRequest& how) override {
    const Record record = require(name);
    if (record.instances.empty()) fail("cluster '{}' has no machines", name);
    const Place place = find_place(account_.session(), how.spec.aws);
    CreateRequest request = how;
    std::vector<Node> masters, added;
    for (const auto& instance : record.instances) {
      request.image.remote_id = instance.image;
      if (instance.role == "master") masters.push_back(to_node(instance));
    }
    std::vector<Machine> made;
    try {
      // Numbers in a row are one request.
      for (std::size_t first = 0, end = 0; first < nodes.size(); first = end) {
        const int number = number_of(nodes[first].name);
        for (end = first; end < nodes.size() && number_of(nodes[end].name) == number + static_cast<int>(end - first);) ++end;
        run_instances(account_.ec2(), record, request, place, {"worker", number, static_cast<int>(end - first)}, masters, made,
                      random_hex(8));
      }
      // Before they are counted: one that EC2 does not tell of yet would be thought lost.
      wait_until_shown(name, made);
      count_workers(record, count_running(record, "worker") + static_cast<int>(made.size()));
    } catch (...) {
      const Undisturbed undisturbed;
      undo(name, nodes, made);
      throw;
    }
    for (const auto& instance : made) added.push_back(to_node(instance));
    return added;
  }

  void remove_nodes(const std::string& name, const std::vector<std::string>& nodes) override {
    const auto record = locate(name);
    if (!record) return;
    Json ids = Json::array();
    for (const auto& instance : record->instances) {
      if (std::find(nodes.begin(), nodes.end(), instance.name) != nodes.end()) ids.push_back(instance.id);
    }
    if (ids.empty()) return;
    // First, so that they are not thought lost.
    count_workers(*record, count_running(*record, "worker") - static_cast<int>(ids.size()));
    call_about_new(account_.ec2(), "TerminateInstances", {{"InstanceId", ids}});
  }

  Node replace_master(const std::string& name, const std::string& master, const CreateRequest& how) override {
    const Record record = require(name);
    CreateRequest request = how;
    const Machine* old = record.find(master);
    const std::string address =
        old != nullptr && !old->private_address.empty() ? old->private_address : access_.known_address(record, master);
    if (address.empty()) fail("nobody knows any more which address '{}' of cluster '{}' had", master, name);
    for (const auto& instance : record.instances) request.image.remote_id = instance.image;
    access_.close(name);  // its sessions went by the old machine
    return to_node(kiln::provider::on_aws::replace_master(account_.session(), account_.ec2(), record, request, master, address));
  }

  // EC2 takes some 10 s to start a machine, and a minute on its bad days; larger ones take longer.
  std::chrono::milliseconds boot_time() const override { return std::chrono::minutes(10); }

  std::string explain(const std::string& name, const std::string& node) override {
    const auto record = locate(name);
    const Machine* instance = record ? record->find(node) : nullptr;
    return instance == nullptr ? "" : trouble_of(account_.ec2(), *instance);
  }

  Fd connect(const std::string& name, const std::string& node, int port, std::chrono::milliseconds timeout) override {
    return access_.connect(name, node, port, timeout);
  }

  std::string forward(const std::string& name, const std::string& node, int port) override { return access_.forward(name, node, port); }

  std::string socks_proxy(const std::string& name, int port) override { return access_.socks_proxy(name, port); }

  std::vector<std::string> ssh_command(const std::string& name, const std::string& node, const std::vector<std::string>& command) override {
    return access_.ssh_command(name, node, command);
  }

  void stop(const std::string& name) override {
    const Record record = require(name);
    if (const Json ids = ids_of(record); !ids.empty()) call_about_new(account_.ec2(), "StopInstances", {{"InstanceId", ids}});
    access_.close(name);  // the machines come back with other addresses
    wait_for_all(name, "to stop", "stopped");
  }

  Cluster start(const std::string& name, const CreateRequest&) override {
    const Record record = require(name);
    const auto& lease = record.cluster.lease_until;
    if (lease && *lease <= static_cast<std::int64_t>(now_in_seconds())) {
      Error error(fmt::format("the lease of cluster '{}' has ended", name));
      error.set_hint(fmt::format("`kiln destroy {}` removes what is left of it", name));
      throw error;
    }
    if (const Json ids = ids_of(record); !ids.empty()) call_about_new(account_.ec2(), "StartInstances", {{"InstanceId", ids}});
    wait_for_all(name, "to start", "running");
    return *find(name);
  }

  void destroy(const std::string& name) override {
    if (const auto record = locate(name))
      remove(name, record->group_id);
    else
      forget_cluster(name);  // what a launch kept here that was killed before it made anything
  }

  std::vector<Leftover> collect_garbage(bool dry_run) override {
    std::vector<Leftover> leftovers;
    if (!account_.is_configured()) return leftovers;
    const auto regions = account_.everywhere();
    std::vector<std::vector<Leftover>> found(regions.size());
    std::vector<std::set<std::string>> living(regions.size());
    parallel_for(regions.size(), kRegionsAtOnce, [&](std::size_t i) { found[i] = collect_garbage_in(regions[i], dry_run, living[i]); });
    std::set<std::string> names, places;
    for (std::size_t i = 0; i < regions.size(); ++i) {
      names.insert(living[i].begin(), living[i].end());
      places.insert(regions[i].region());
    }
    found.push_back(collect_traces(account_.profile(), places, names, dry_run));
    for (auto& some : found) leftovers.insert(leftovers.end(), some.begin(), some.end());
    return leftovers;
  }

 private:
  // Clusters of the name (empty: all) with their regions, in all regions.
  std::vector<std::pair<std::string, Record>> records_everywhere(const std::string& name) {
    const auto regions = account_.everywhere();
    std::vector<std::vector<Record>> found(regions.size());
    parallel_for(regions.size(), kRegionsAtOnce, [&](std::size_t i) { found[i] = find_records(kiln::aws::Ec2(regions[i]), name); });
    std::vector<std::pair<std::string, Record>> records;
    for (std::size_t i = 0; i < found.size(); ++i) {
      for (auto& record : found[i]) records.emplace_back(regions[i].region(), std::move(record));
    }
    return records;
  }

  // Where a launch from this machine put it, else in the user's own region, else in any. From then on the account is in that region.
  std::optional<Record> locate(const std::string& name) {
    if (!account_.is_configured()) return std::nullopt;
    if (!is_located_ && account_.use_place_of(name)) {
      if (auto record = find_record(name)) {
        is_located_ = true;
        return record;
      }
      account_.use("", "");
    }
    auto record = find_record(name);
    if (record || is_located_) return record;
    auto found = records_everywhere(name);
    if (found.size() > 1) {
      UsageError error(fmt::format("there are clusters '{}' in {} and {}", name, found[0].first, found[1].first));
      error.set_hint(fmt::format("say which one: AWS_REGION={}", found[0].first));
      throw error;
    }
    if (found.empty()) return std::nullopt;
    account_.use_region(found.front().first);
    is_located_ = true;
    return std::move(found.front().second);
  }

  std::optional<Record> find_record(const std::string& name) {
    auto records = find_records(account_.ec2(), name);
    return records.empty() ? std::nullopt : std::optional(std::move(records.front()));
  }

  Record require(const std::string& name) {
    auto record = locate(name);
    if (!record) fail("there is no cluster '{}'", name);
    return std::move(*record);
  }

  // Its name is what only one launcher gets. What a launch left that is known to be dead makes way.
  void make_group(Record& record) {
    const std::string& name = record.cluster.name;
    const auto left = find_record(name);
    if (left && left->cluster.state == State::kCreating && is_given_up(name, left->launch, left->cluster.created)) {
      say(fmt::format("removing what an interrupted launch of '{}' left", name));
      remove(name, left->group_id);
    }
    launching_.emplace(name, record.launch);
    account_.remember_place(name);
    try {
      record.group_id = make_group_once(account_.ec2(), group_parameters(record), record.launch);
    } catch (const kiln::aws::ApiError& error) {
      launching_.reset();
      if (!error.is_duplicate()) {
        // It may be there all the same; that it is nobody's can be told by the mark.
        if (!error.may_have_acted()) forget_cluster(name);
        throw;
      }
      UsageError taken(fmt::format("there is a cluster '{}' already, or somebody launches one just now", name));
      taken.set_hint(fmt::format("`kiln status {0}` shows it, `kiln destroy {0}` removes it", name));
      throw taken;
    }
  }

  static void check_resumable(const Record& record, const CreateRequest& request) {
    const std::string& name = record.cluster.name;
    const auto age = static_cast<std::int64_t>(now_in_seconds()) - record.cluster.created;
    const auto refuse = [&](const std::string& why) {
      UsageError error(fmt::format("the launch of '{}' cannot be gone on with: {}", name, why));
      error.set_hint(fmt::format("`kiln launch {}` without --resume begins a new one, when nobody else is at it", name));
      throw error;
    };
    if (!LaunchMark::is_abandoned(name, record.launch)) refuse("it is another machine's, or still going on");
    if (age > std::chrono::seconds(kLaunchLease - kTimeToResume).count()) refuse("its machines are about to end");
    if (record.masters != count_of(request.nodes, "master") || record.workers != count_of(request.nodes, "worker") ||
        record.cluster.image_digest != request.cluster.image_digest)
      refuse(fmt::format("it was of {}+{} nodes of image '{}'", record.masters, record.workers, record.cluster.image));
  }

  // Opens the group, asks for all machines that there are not, and puts them into the record. On failure nothing is left.
  void make_machines(Record& record, const CreateRequest& request, const Place& place) {
    access_.set_secret(record, request.cluster.secret);
    try {
      open_group(record, place);
      if (!record.made_profile.empty()) make_profile(account_.session(), record, request.spec.aws);
      for (const std::string role : {"master", "worker"}) {
        for (const auto& batch : missing_nodes(record, role)) {
          run_instances(account_.ec2(), record, request, place, batch, masters_to_tell(record, role), record.instances, record.launch);
          sort_by_number(record.instances);
        }
      }
    } catch (...) {
      const Undisturbed undisturbed;
      remove(record.cluster.name, record.group_id, record.made_profile);
      throw;
    }
    record.cluster.nodes.clear();
    for (const auto& instance : record.instances) record.cluster.nodes.push_back(to_node(instance));
  }

  // `profile`: one that may have been made, though EC2 may not show the group that says so yet.
  void remove(const std::string& name, const std::string& group, const std::string& profile = {}) {
    remove_cluster(account_.session(), account_.ec2(), name, group, profile);
    launching_.reset();
    forget_cluster(name);
  }

  void open_group(const Record& record, const Place& place) {
    try {
      call_about_new(account_.ec2(), "AuthorizeSecurityGroupIngress", group_rules(record, place));
    } catch (const kiln::aws::ApiError& error) {
      // The rules of a new group can only be its own: an answer was lost.
      if (!error.is_duplicate()) throw;
    }
  }

  void wait_until_shown(const std::string& name, const std::vector<Machine>& made) {
    kiln::aws::wait_until(account_.session().surroundings(), fmt::format("EC2 to show the new machines of cluster '{}'", name), kShowTime,
                          [&] {
                            std::set<std::string> shown;
                            for (const auto& instance : require(name).instances) shown.insert(instance.id);
                            return std::all_of(made.begin(), made.end(), [&](const Machine& one) { return shown.count(one.id) != 0; });
                          });
  }

  // Nodes that were asked for and shall not be, whether EC2's answer came or not. Never throws: they end by their lease, too.
  void undo(const std::string& name, const std::vector<NodeRequest>& nodes, const std::vector<Machine>& made) {
    try {
      std::set<std::string> ids;
      for (const auto& instance : made) ids.insert(instance.id);
      for (const auto& instance : require(name).instances) {
        if (std::any_of(nodes.begin(), nodes.end(), [&](const NodeRequest& node) { return node.name == instance.name; }))
          ids.insert(instance.id);
      }
      if (!ids.empty()) call_about_new(account_.ec2(), "TerminateInstances", {{"InstanceId", ids}});
    } catch (const std::exception& error) {
      say(fmt::format("new machines of '{}' could not be removed: {}", name, error.what()));
    }
  }

  static int count_running(const Record& record, const std::string& role) {
    return static_cast<int>(
        std::count_if(record.instances.begin(), record.instances.end(), [&](const Machine& one) { return one.role == role; }));
  }

  void count_workers(const Record& record, int workers) {
    if (!record.group_id.empty()) set_tag(record, "kiln:workers", std::to_string(workers));
  }

  void set_tag(const Record& record, const std::string& key, const std::string& value) {
    call_about_new(account_.ec2(), "CreateTags",
                   {{"ResourceId", Json::array({record.group_id})}, {"Tag", Json::array({{{"Key", key}, {"Value", value}}})}});
  }

  void wait_for_all(const std::string& name, const std::string& what, const std::string& state) {
    kiln::aws::wait_until(
        account_.session().surroundings(), fmt::format("the machines of cluster '{}' {}", name, what), kTerminationTime, [&] {
          const auto record = find_record(name);
          return !record ||
                 std::all_of(record->instances.begin(), record->instances.end(), [&](const Machine& one) { return one.state == state; });
        });
  }

  Account account_;
  Access access_{account_};
  bool is_located_ = false;  // the account is in the region that the cluster is in
  std::optional<LaunchMark> launching_;
};

const RegisterProvider registration{"aws", "EC2 instances", Reach::kRemote, [] { return std::make_unique<AwsProvider>(); }};

}  // namespace

}  // namespace kiln::provider::on_aws
