#include "provider/aws/run_request.h"

#include <algorithm>

#include "base/activity.h"
#include "base/error.h"
#include "provider/aws/user_data.h"
#include "provider/ssh_keys.h"

namespace kiln::provider::on_aws {

namespace {

// The document that all machines of one request share.
config::NodeDocument shared_document(const CreateRequest& request, const Batch& batch, const std::vector<Node>& known,
                                     const std::vector<std::string>& keys) {
  Node node;
  node.role = batch.role;
  config::NodeDocument document = request.document(node, known);
  document.first_number = batch.first_number;
  const std::int64_t launch_ends = static_cast<std::int64_t>(now_in_seconds()) + std::chrono::seconds(kLaunchLease).count();
  document.lease_until = std::min(document.lease_until.value_or(launch_ends), launch_ends);
  document.power_off = true;
  document.ssh = {derive_ssh_key(request.cluster.secret, "host").private_text,
                  {derive_ssh_key(request.cluster.secret, "user").public_line}};
  document.ssh->authorized_keys.insert(document.ssh->authorized_keys.end(), keys.begin(), keys.end());
  return document;
}

// EC2 puts a key pair nowhere itself: who boots from it has to. kiln's nodes take all their keys from their document.
std::vector<std::string> public_keys_of(const kiln::aws::Ec2& ec2, const std::string& key_pair) {
  if (key_pair.empty()) return {};
  try {
    const Json answer = ec2.call("DescribeKeyPairs", {{"KeyName", Json::array({key_pair})}, {"IncludePublicKey", true}});
    for (const auto& pair : kiln::aws::list(answer, "keySet")) {
      std::string line = kiln::aws::text(pair, "publicKey");
      while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
      if (!line.empty()) return {line};
    }
  } catch (const kiln::aws::ApiError& error) {
    if (!error.is_not_found()) throw;
    UsageError missing(fmt::format("there is no key pair '{}' in {}", key_pair, ec2.region()));
    missing.set_hint("`aws ec2 describe-key-pairs` lists them; none is needed: each cluster has a key of its own");
    throw missing;
  }
  fail("EC2 does not tell the public key of key pair '{}'", key_pair);
}

Json volume_of(const config::AwsSpec& wish) {
  Json ebs = {{"VolumeSize", wish.volume_size}, {"VolumeType", wish.volume_type}, {"DeleteOnTermination", true}};
  if (wish.volume_iops != 0) ebs["Iops"] = wish.volume_iops;
  if (wish.volume_throughput != 0) ebs["Throughput"] = wish.volume_throughput;
  return ebs;
}

// /dev/sdf and on: what EC2 recommends for added volumes. What a machine calls them is another matter.
Json devices_of(const kiln::aws::Ec2& ec2, const config::AwsSpec& wish, const std::string& ami) {
  Json devices = Json::array();
  if (wish.root_size != 0) {
    const auto images = ec2.call_all("DescribeImages", {{"ImageId", Json::array({ami})}}, "imagesSet");
    if (images.empty()) fail("there is no AMI '{}' in {}", ami, ec2.region());
    const std::string root = kiln::aws::required_text(images.front(), "rootDeviceName");
    for (const auto& device : kiln::aws::list(images.front(), "blockDeviceMapping")) {
      const auto least = kiln::aws::integer(device, "ebs/volumeSize");
      if (kiln::aws::text(device, "deviceName") == root && least && *least > wish.root_size)
        fail_usage("root_size {}: the image's own disk has {} GiB", wish.root_size, *least);
    }
    devices.push_back({{"DeviceName", root}, {"Ebs", {{"VolumeSize", wish.root_size}, {"DeleteOnTermination", true}}}});
  }
  for (int i = 0; i < wish.volumes; ++i)
    devices.push_back({{"DeviceName", fmt::format("/dev/sd{}", static_cast<char>('f' + i))}, {"Ebs", volume_of(wish)}});
  return devices;
}

Json parameters_of(const kiln::aws::Ec2& ec2, const Record& record, const CreateRequest& request, const Place& place, const Batch& batch) {
  const config::AwsSpec& wish = request.spec.aws;
  Tags tags = node_tags(record.cluster, record.launch, batch.role, batch.first_number);
  tags.insert(tags.end(), wish.tags.begin(), wish.tags.end());
  Json groups = Json::array({record.group_id});
  for (const auto& group : place.groups) groups.push_back(group);
  Json parameters = {
      {"ImageId", request.image.remote_id},
      {"MinCount", batch.count},
      {"MaxCount", batch.count},
      {"MetadataOptions", {{"HttpTokens", "required"}, {"HttpPutResponseHopLimit", 1}, {"HttpEndpoint", "enabled"}}},
      {"NetworkInterface",
       Json::array({{{"DeviceIndex", 0}, {"AssociatePublicIpAddress", !wish.is_private}, {"SecurityGroupId", groups}}})},
      // A node whose lease has ended switches itself off, and that shall be all, unless the user wants its disks kept.
      {"InstanceInitiatedShutdownBehavior", wish.shutdown},
      {"TagSpecification", Json::array({kiln::aws::tag_specification("instance", tags), kiln::aws::tag_specification("volume", tags)})}};
  if (Json devices = devices_of(ec2, wish, request.image.remote_id); !devices.empty())
    parameters["BlockDeviceMapping"] = std::move(devices);
  if (!batch.private_address.empty()) parameters["NetworkInterface"][0]["PrivateIpAddress"] = batch.private_address;
  if (!wish.placement_group.empty()) parameters["Placement"] = {{"GroupName", wish.placement_group}};
  if (!wish.key_pair.empty()) parameters["KeyName"] = wish.key_pair;
  const std::string& profile = record.made_profile.empty() ? wish.instance_profile : record.made_profile;
  if (!profile.empty()) parameters["IamInstanceProfile"] = {{profile.starts_with("arn:") ? "Arn" : "Name", profile}};
  return parameters;
}

// The market is left last: whoever asks for spot would rather have another type or zone than pay more.
std::vector<Way> ways_of(const config::AwsSpec& wish, const std::string& role, const std::vector<Place::Subnet>& subnets) {
  const bool on_spot = !wish.spot_price.empty() && (role == "worker" || wish.spot_masters);
  std::vector<std::string> markets = {on_spot ? wish.spot_price : ""};
  if (on_spot && wish.spot_fallback) markets.emplace_back();
  std::vector<Way> ways;
  for (const auto& market : markets) {
    for (const auto& type : config::types_of(wish, role)) {
      for (const auto& subnet : subnets) ways.push_back({type, subnet, market});
    }
  }
  return ways;
}

// As even as can be; a zone's neighbours are its second choice.
std::vector<std::pair<Batch, std::vector<Place::Subnet>>> spread(const Batch& batch, const std::vector<Place::Subnet>& subnets) {
  std::vector<std::pair<Batch, std::vector<Place::Subnet>>> parts;
  const int zones = static_cast<int>(subnets.size());
  int first = batch.first_number;
  for (int i = 0; i < zones; ++i) {
    const int count = batch.count / zones + (i < batch.count % zones ? 1 : 0);
    if (count == 0) break;
    auto order = subnets;
    std::rotate(order.begin(), order.begin() + i, order.end());
    parts.push_back({{batch.role, first, count}, std::move(order)});
    first += count;
  }
  return parts;
}

}  // namespace

std::vector<RunRequest> run_requests(const kiln::aws::Ec2& ec2, const Record& record, const CreateRequest& request, const Place& place,
                                     const Batch& batch, const std::vector<Node>& known) {
  const config::AwsSpec& wish = request.spec.aws;
  const auto keys = public_keys_of(ec2, wish.key_pair);
  std::vector<std::pair<Batch, std::vector<Place::Subnet>>> parts = {{batch, place.subnets}};
  if (place.is_spread && batch.role == "worker") parts = spread(batch, place.subnets);
  std::vector<RunRequest> requests;
  for (const auto& part : parts) {
    RunRequest one{part.first, parameters_of(ec2, record, request, place, part.first), ways_of(wish, batch.role, part.second)};
    const auto document = shared_document(request, part.first, known, keys);
    one.parameters["UserData"] =
        request.parcel ? stock_user_data_of(document, *request.parcel, derive_ssh_key(request.cluster.secret, "host").public_line)
                       : user_data_of(document);
    apply_way(one.parameters, one.ways.front());
    requests.push_back(std::move(one));
  }
  return requests;
}

void check_user_data(const CreateRequest& request) {
  // With addresses as long as can be, and a key of those that there may be.
  std::vector<Node> masters;
  for (const auto& node : request.nodes) {
    if (node.role == "master") masters.push_back({node.name, node.role, "255.255.255.255", {}, true});
  }
  const Batch batch{"worker", 1, 1};
  const std::string key = derive_ssh_key(request.cluster.secret, "user").public_line;
  user_data_of(shared_document(request, batch, masters, request.spec.aws.key_pair.empty() ? std::vector<std::string>() : std::vector{key}));
}

void apply_way(Json& parameters, const Way& way) {
  parameters["InstanceType"] = way.type;
  parameters["NetworkInterface"][0]["SubnetId"] = way.subnet.id;
  parameters.erase("InstanceMarketOptions");
  if (way.spot_price.empty()) return;
  Json spot = {{"SpotInstanceType", "one-time"}, {"InstanceInterruptionBehavior", "terminate"}};
  if (way.spot_price != "max") spot["MaxPrice"] = way.spot_price;
  parameters["InstanceMarketOptions"] = {{"MarketType", "spot"}, {"SpotOptions", std::move(spot)}};
}

std::string describe(const Way& way) {
  return fmt::format("{} in {} {}", way.type, way.subnet.zone, way.spot_price.empty() ? "on demand" : "on spot");
}

bool is_no_room(const kiln::aws::ApiError& error) {
  // The quota of spot instances is one of its own.
  return error.is_capacity() || error.code() == "MaxSpotInstanceCountExceeded" || error.code() == "InsufficientFreeAddressesInSubnet";
}

}  // namespace kiln::provider::on_aws
