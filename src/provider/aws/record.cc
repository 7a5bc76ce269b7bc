#include "provider/aws/record.h"

#include <algorithm>
#include <map>

#include "base/strings.h"

namespace kiln::provider::on_aws {

namespace {

constexpr const char* kLaunchTag = "kiln:launch";

// Of the 1,000 that EC2 gives in an answer: such an answer takes some 40 MB once it is read, and kiln shall take less in all.
constexpr int kMachinesAtOnce = 400;

std::int64_t number_in(const Json& resource, const char* key) {
  const std::string text = kiln::aws::tag(resource, key).value_or("");
  const bool good = !text.empty() && text.size() < 16 && text.find_first_not_of("0123456789") == std::string::npos;
  return good ? std::stoll(text) : 0;
}

// worker-10 after worker-9.
void sort_nodes(std::vector<Node>& nodes) {
  std::sort(nodes.begin(), nodes.end(), [](const Node& a, const Node& b) {
    return std::tuple(a.role, a.name.size(), a.name) < std::tuple(b.role, b.name.size(), b.name);
  });
}

Record read_cluster(const Json& group) {
  Record record;
  record.group_id = kiln::aws::required_text(group, "groupId");
  record.vpc_id = kiln::aws::text(group, "vpcId");
  record.launch = kiln::aws::tag(group, kLaunchTag).value_or("");
  record.user = kiln::aws::tag(group, "kiln:user").value_or("root");
  record.masters = static_cast<int>(number_in(group, "kiln:masters"));
  record.workers = static_cast<int>(number_in(group, "kiln:workers"));
  record.made_profile = kiln::aws::tag(group, "kiln:profile").value_or("");
  Cluster& cluster = record.cluster;
  cluster.name = kiln::aws::tag(group, kClusterTag).value_or("");
  cluster.provider = "aws";
  cluster.created = number_in(group, "kiln:created");
  if (const std::int64_t lease = number_in(group, "kiln:lease"); lease != 0) cluster.lease_until = lease;
  cluster.image = kiln::aws::tag(group, "kiln:image").value_or("");
  cluster.image_digest = kiln::aws::tag(group, "kiln:digest").value_or("");
  cluster.state = kiln::aws::tag(group, "kiln:state") == "creating" ? State::kCreating : State::kRunning;
  return record;
}

bool has(const std::vector<Machine>& instances, const std::string& name) {
  return std::any_of(instances.begin(), instances.end(), [&](const Machine& one) { return one.name == name; });
}

// Which of the nodes that there shall be have no machine: the lowest numbers that are free.
void add_lost_nodes(Record& record, const std::string& role, int wanted) {
  const auto present =
      std::count_if(record.instances.begin(), record.instances.end(), [&](const Machine& one) { return one.role == role; });
  int missing = wanted - static_cast<int>(present);
  for (int number = 1; missing > 0; ++number) {
    const std::string name = fmt::format("{}-{}", role, number);
    if (has(record.instances, name)) continue;
    --missing;
    const Machine* lost = record.find(name);
    Node node{name, role, lost == nullptr ? "" : lost->private_address, {}, false};
    record.cluster.nodes.push_back(std::move(node));
  }
}

// From what its machines are.
void find_state(Record& record) {
  for (const auto& instance : record.instances) record.cluster.nodes.push_back(to_node(instance));
  if (record.cluster.state == State::kCreating) {
    // Those that are still to come are not missing.
    for (const auto& instance : record.gone) {
      if (!has(record.instances, instance.name)) record.cluster.nodes.push_back(to_node(instance));
    }
    return;
  }
  const auto count = [&](auto&& is) { return std::count_if(record.instances.begin(), record.instances.end(), is); };
  const auto running = count([](const Machine& one) { return one.is_running(); });
  const auto stopped = count([](const Machine& one) { return one.state == "stopped" || one.state == "stopping"; });
  if (running == 0) record.cluster.state = stopped != 0 ? State::kStopped : State::kLost;
  add_lost_nodes(record, "master", record.masters);
  add_lost_nodes(record, "worker", record.workers);
  sort_nodes(record.cluster.nodes);
}

}  // namespace

std::vector<const Machine*> Record::copy_holders() const {
  // One more than what is lost together with a master, most often.
  constexpr std::size_t kCopies = 2;
  std::vector<const Machine*> holders;
  for (const auto& instance : instances) {
    if (holders.size() == kCopies) break;
    if (instance.role == "worker" && instance.is_running()) holders.push_back(&instance);
  }
  return holders;
}

const Machine* Record::find(const std::string& node) const {
  for (const auto* all : {&instances, &gone}) {
    for (const auto& instance : *all) {
      if (instance.name == node) return &instance;
    }
  }
  return nullptr;
}

Tags group_tags(const Record& record) {
  const Cluster& cluster = record.cluster;
  Tags tags = {{"Name", "kiln-" + cluster.name},
               {kClusterTag, cluster.name},
               {kLaunchTag, record.launch},
               {"kiln:created", std::to_string(cluster.created)},
               {"kiln:state", "creating"},
               {"kiln:image", cluster.image},
               {"kiln:digest", cluster.image_digest},
               {"kiln:masters", std::to_string(record.masters)},
               {"kiln:workers", std::to_string(record.workers)}};
  if (record.user != "root") tags.emplace_back("kiln:user", record.user);
  if (!record.made_profile.empty()) tags.emplace_back("kiln:profile", record.made_profile);
  if (cluster.lease_until) tags.emplace_back("kiln:lease", std::to_string(*cluster.lease_until));
  return tags;
}

Json group_parameters(const Record& record) {
  const std::string& name = record.cluster.name;
  return {{"GroupName", "kiln-" + name},
          {"GroupDescription", "kiln cluster " + name},
          {"VpcId", record.vpc_id},
          {"TagSpecification", Json::array({kiln::aws::tag_specification("security-group", group_tags(record))})}};
}

Tags node_tags(const Cluster& cluster, const std::string& launch, const std::string& role, int first_number) {
  return {{"Name", fmt::format("{}-{}", cluster.name, role)},
          {kClusterTag, cluster.name},
          {kLaunchTag, launch},
          {"kiln:role", role},
          {"kiln:first", std::to_string(first_number)}};
}

Machine read_machine(const Json& json) {
  Machine instance;
  instance.id = kiln::aws::required_text(json, "instanceId");
  instance.role = kiln::aws::tag(json, "kiln:role").value_or("");
  instance.launch = kiln::aws::tag(json, kLaunchTag).value_or("");
  instance.name =
      fmt::format("{}-{}", instance.role, number_in(json, "kiln:first") + kiln::aws::integer(json, "amiLaunchIndex").value_or(0));
  instance.state = kiln::aws::text(json, "instanceState/name");
  instance.private_address = kiln::aws::text(json, "privateIpAddress");
  instance.public_address = kiln::aws::text(json, "ipAddress");
  instance.type = kiln::aws::text(json, "instanceType");
  instance.image = kiln::aws::text(json, "imageId");
  instance.reason = kiln::aws::text(json, "stateReason/message");
  return instance;
}

void sort_by_number(std::vector<Machine>& instances) {
  std::sort(instances.begin(), instances.end(), [](const Machine& a, const Machine& b) {
    return std::tuple(a.role, a.name.size(), a.name, a.id) < std::tuple(b.role, b.name.size(), b.name, b.id);
  });
}

Node to_node(const Machine& instance) {
  Node node;
  node.name = instance.name;
  node.role = instance.role;
  node.address = instance.private_address;
  node.running = instance.is_running();
  return node;
}

std::vector<Record> find_records(const kiln::aws::Ec2& ec2, const std::string& name, const std::string& role) {
  const auto wanted =
      name.empty() ? kiln::aws::filters({{"tag-key", {kClusterTag}}}) : kiln::aws::filters({{fmt::format("tag:{}", kClusterTag), {name}}});
  Json group_parameters = wanted, instance_parameters = wanted;
  group_parameters["MaxResults"] = 1000;
  instance_parameters["MaxResults"] = kMachinesAtOnce;
  if (!role.empty()) instance_parameters["Filter"].push_back(Json::object({{"Name", "tag:kiln:role"}, {"Value", Json::array({role})}}));
  std::vector<Record> records;
  std::map<std::string, std::size_t> by_name;
  for (const auto& group : ec2.call_all("DescribeSecurityGroups", group_parameters, "securityGroupInfo")) {
    Record record = read_cluster(group);
    if (record.launch.empty()) continue;  // somebody else's, who uses our word
    by_name[record.cluster.name] = records.size();
    records.push_back(std::move(record));
  }
  ec2.call_each("DescribeInstances", instance_parameters, "reservationSet", [&](const Json& reservation) {
    for (const auto& json : kiln::aws::at(reservation, "instancesSet")) {
      Machine instance = read_machine(json);
      if (instance.launch.empty()) continue;
      const std::string cluster = kiln::aws::tag(json, kClusterTag).value_or("");
      const auto [at, fresh] = by_name.insert({cluster, records.size()});
      if (fresh) {
        // Machines whose group somebody removed by hand.
        Record record;
        record.cluster.name = cluster;
        record.cluster.provider = "aws";
        record.launch = instance.launch;
        records.push_back(std::move(record));
      }
      auto& record = records[at->second];
      // Of an earlier cluster of the name EC2 tells for a while.
      if (instance.is_gone() && !record.group_id.empty() && instance.launch != record.launch) continue;
      (instance.is_gone() ? record.gone : record.instances).push_back(std::move(instance));
    }
  });
  // Nothing of it is left but EC2's memory.
  std::erase_if(records, [](const Record& record) { return record.group_id.empty() && record.instances.empty(); });
  for (auto& record : records) {
    sort_by_number(record.instances);
    find_state(record);
  }
  std::sort(records.begin(), records.end(), [](const auto& a, const auto& b) { return a.cluster.name < b.cluster.name; });
  return records;
}

}  // namespace kiln::provider::on_aws
