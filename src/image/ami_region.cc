#include "image/ami_region.h"

#include <algorithm>
#include <chrono>

#include "aws/ec2.h"
#include "aws/wait.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/strings.h"

namespace kiln::image {

namespace {

// EC2 shows what it has made within seconds; minutes are for its bad days.
constexpr std::chrono::minutes kVisibleLimit{5};
// A copy takes minutes for a few GiB to a near region. Others' tools gave up too early; ending ours ends no copy, and the next run waits
// on.
constexpr std::chrono::hours kCopyLimit{6};
constexpr aws::WaitPauses kCopyPauses{std::chrono::milliseconds(200), std::chrono::milliseconds(10'000)};

Json tag_specifications(const AmiBuild& build, const AmiKind& kind, const std::string* snapshot_region) {
  Json list = Json::array();
  list.push_back(aws::tag_specification("image", ami_tags(build, kind)));
  if (snapshot_region != nullptr) list.push_back(aws::tag_specification("snapshot", snapshot_tags(build, *snapshot_region)));
  return list;
}

std::string description_of(const AmiBuild& build) { return fmt::format("kiln image {} {}", build.image, build.digest.substr(0, 12)); }

std::vector<Ami> describe(const aws::Ec2& ec2, Json params) {
  params["Owner"] = Json::array({"self"});
  std::vector<Ami> amis;
  for (const Json& image : ec2.call_all("DescribeImages", params, "imagesSet")) {
    // Gone, and still shown for a while.
    if (aws::text(image, "imageState") != "deregistered") amis.push_back(read_ami(ec2.region(), image));
  }
  return amis;
}

// The one that already has the name: made by a run that never heard the answer. EC2 may need a moment to show it.
Ami find_by_name(const aws::Session& session, const aws::Ec2& ec2, const AmiBuild& build, const std::string& name) {
  std::vector<Ami> found;
  aws::wait_until(session.surroundings(), fmt::format("AMI '{}' to be shown", name), kVisibleLimit, [&] {
    found = describe(ec2, aws::filters({{"name", {name}}}));
    return !found.empty();
  });
  if (found.front().build == build.build) return found.front();
  Error error(fmt::format("there is an AMI '{}' in {} that has not kiln's tags: {}", name, ec2.region(), found.front().id));
  error.set_hint("rename or deregister it: kiln touches nothing that is not its own");
  throw error;
}

// What was just made may not be found for some seconds.
template <class Call>
Json when_visible(const aws::Session& session, const std::string& what, Call call) {
  Json answer;
  aws::wait_until(session.surroundings(), what, kVisibleLimit, [&] {
    try {
      answer = call();
      return true;
    } catch (const aws::ApiError& error) {
      if (!error.is_not_found()) throw;
      return false;
    }
  });
  return answer;
}

Json root_mapping(const AmiBuild& build, const std::string& device, const std::string& snapshot) {
  Json ebs = {{"SnapshotId", snapshot}, {"VolumeSize", build.size_gib}, {"VolumeType", "gp3"}, {"DeleteOnTermination", true}};
  Json mappings = Json::array();
  mappings.push_back(Json::object({{"DeviceName", device}, {"Ebs", ebs}}));
  return mappings;
}

// Parameters as RegisterImage's API reference has them. ENA and SR-IOV are hvm's: they can make a paravirtual machine unreachable.
Json registration(const aws::Session& session, const AmiBuild& build, const AmiKind& kind, const std::string& snapshot) {
  const bool hvm = kind.virtualization == "hvm";
  const std::string device = hvm ? "/dev/xvda" : "/dev/sda";
  Json params = {{"Name", ami_name(build, kind)},
                 {"Description", description_of(build)},
                 {"Architecture", build.architecture},
                 {"VirtualizationType", kind.virtualization},
                 {"RootDeviceName", device},
                 {"BlockDeviceMapping", root_mapping(build, device, snapshot)},
                 {"ImdsSupport", "v2.0"},
                 {"TagSpecification", tag_specifications(build, kind, nullptr)}};
  if (hvm) {
    params["BootMode"] = kind.boot_mode;
    params["EnaSupport"] = true;
    params["SriovNetSupport"] = "simple";
    return params;
  }
  const auto kernel = find_pv_kernel(session);
  if (!kernel) {
    Error error(fmt::format("{} has no pv-grub kernel: a paravirtual AMI cannot be made there", session.region()));
    error.set_hint("newer regions have none: leave it out, or 'paravirtual'");
    throw error;
  }
  params["KernelId"] = *kernel;
  return params;
}

void settle_tags(const aws::Ec2& ec2, const AmiBuild& build, const Ami& ami, bool& changed) {
  Tags missing;
  for (const auto& tag : ami_tags(build, ami.kind)) {
    if (std::find(ami.tags.begin(), ami.tags.end(), tag) == ami.tags.end()) missing.push_back(tag);
  }
  if (missing.empty()) return;
  ec2.create_tags({ami.id}, missing);
  changed = true;
}

void settle_permissions(const aws::Session& session, const aws::Ec2& ec2, const AmiBuild& build, const Ami& ami, bool& changed) {
  if (build.spec.accounts.empty() && !build.spec.is_public) return;
  Json ask = {{"ImageId", ami.id}, {"Attribute", "launchPermission"}};
  const std::string what = fmt::format("AMI '{}' to be shown", ami.id);
  const Json answer = when_visible(session, what, [&] { return ec2.call("DescribeImageAttribute", ask); });
  const auto there = aws::list(answer, "launchPermission");
  const auto has = [&](const char* member, const std::string& value) {
    return std::any_of(there.begin(), there.end(), [&](const Json& one) { return aws::text(one, member) == value; });
  };
  Json add = Json::array();
  for (const auto& account : build.spec.accounts) {
    if (!has("userId", account)) add.push_back(Json::object({{"UserId", account}}));
  }
  if (build.spec.is_public && !has("group", "all")) add.push_back(Json::object({{"Group", "all"}}));
  if (add.empty()) return;
  ec2.call("ModifyImageAttribute", {{"ImageId", ami.id}, {"LaunchPermission", Json::object({{"Add", add}})}}, {aws::Repeat::kAlways});
  changed = true;
}

void settle_deprecation(const aws::Ec2& ec2, const AmiBuild& build, const Ami& ami, bool& changed) {
  const auto created = aws::parse_iso_time(ami.created);
  if (build.spec.deprecate_after.count() == 0 || !created) return;
  // EC2 keeps whole minutes.
  const auto wanted = std::chrono::round<std::chrono::minutes>(*created + build.spec.deprecate_after);
  const auto there = aws::parse_iso_time(ami.deprecation);
  if (there && std::chrono::round<std::chrono::minutes>(*there) == wanted) return;
  ec2.call("EnableImageDeprecation", {{"ImageId", ami.id}, {"DeprecateAt", aws::iso_time(wanted)}}, {aws::Repeat::kAlways});
  changed = true;
}

// What is known of it need not be read back: tags may be shown later than what carries them.
void mark_as_made(Ami& ami, const AmiBuild& build, const AmiKind& kind) {
  ami.image = build.image;
  ami.digest = build.digest;
  ami.build = build.build;
  ami.kind = kind;
  ami.name = ami_name(build, kind);
  ami.architecture = build.architecture;
  ami.made = true;
}

}  // namespace

Json Ami::to_json() const {
  return {{"region", region},
          {"id", id},
          {"name", name},
          {"image", image},
          {"digest", digest},
          {"build", build},
          {"architecture", architecture},
          {"virtualization", kind.virtualization},
          {"boot_mode", kind.boot_mode},
          {"state", state},
          {"snapshot", snapshot},
          {"created", created},
          {"deprecation", deprecation},
          {"public", is_public},
          {"encrypted", encrypted}};
}

Ami read_ami(const std::string& region, const Json& image) {
  Ami ami;
  ami.region = region;
  ami.id = aws::required_text(image, "imageId");
  ami.name = aws::text(image, "name");
  ami.image = aws::tag(image, kImageTag).value_or("");
  ami.digest = aws::tag(image, kDigestTag).value_or("");
  ami.build = aws::tag(image, kBuildTag).value_or("");
  ami.architecture = aws::text(image, "architecture");
  ami.kind = {aws::text(image, "virtualizationType"), aws::tag(image, kBootModeTag).value_or("")};
  ami.state = aws::text(image, "imageState");
  ami.created = aws::text(image, "creationDate");
  ami.deprecation = aws::text(image, "deprecationTime");
  ami.is_public = aws::flag(image, "isPublic");
  const std::string root = aws::text(image, "rootDeviceName");
  for (const Json& mapping : aws::list(image, "blockDeviceMapping")) {
    if (aws::text(mapping, "deviceName") != root) continue;
    ami.snapshot = aws::text(mapping, "ebs/snapshotId");
    ami.encrypted = aws::flag(mapping, "ebs/encrypted");
  }
  for (const Json& tag : aws::list(image, "tagSet")) ami.tags.emplace_back(aws::text(tag, "key"), aws::text(tag, "value"));
  return ami;
}

std::vector<Ami> find_amis(const aws::Session& session, const std::string& tag, const std::string& value) {
  Json params = value == "*" ? aws::filters({{"tag-key", {tag}}}) : aws::filters({{"tag:" + tag, {value}}});
  params["MaxResults"] = 1000;
  return describe(aws::Ec2(session), params);
}

Ami wait_for_ami(const aws::Session& session, const std::string& id) {
  const aws::Ec2 ec2(session);
  const Json params = aws::filters({{"image-id", {id}}});
  std::optional<Ami> ami;
  const auto is_there = [&] {
    const Json answer = ec2.call("DescribeImages", params);
    const auto found = aws::list(answer, "imagesSet");
    if (found.empty()) return false;
    ami = read_ami(ec2.region(), found.front());
    if (ami->state == "available") return true;
    if (ami->state == "pending" || ami->state == "transient") return false;
    fail("AMI '{}' in {} is '{}': {}", id, ec2.region(), ami->state, aws::text(found.front(), "stateReason/message"));
  };
  aws::wait_until(session.surroundings(), fmt::format("AMI '{}' in {} to be available", id, ec2.region()), kCopyLimit, is_there,
                  kCopyPauses);
  return *ami;
}

Ami register_ami(const aws::Session& session, const AmiBuild& build, const AmiKind& kind, const std::string& snapshot) {
  const aws::Ec2 ec2(session);
  Activity activity(fmt::format("register {} ({})", ec2.region(), kind_words(kind)));
  const Json params = registration(session, build, kind, snapshot);
  std::string id;
  try {
    // Twice does no harm: the name is taken by then.
    const Json answer = when_visible(session, fmt::format("snapshot '{}' to be shown", snapshot),
                                     [&] { return ec2.call("RegisterImage", params, {aws::Repeat::kAlways}); });
    id = aws::required_text(answer, "imageId");
  } catch (const aws::ApiError& error) {
    if (!error.is_duplicate()) throw;
    id = find_by_name(session, ec2, build, ami_name(build, kind)).id;
  }
  Ami ami = wait_for_ami(session, id);
  if (ami.snapshot.empty()) ami.snapshot = snapshot;
  mark_as_made(ami, build, kind);
  activity.finish({{"ami", ami.id}});
  return ami;
}

Ami copy_ami(const aws::Session& session, const AmiBuild& build, const Ami& source, const std::optional<Ami>& there) {
  const aws::Ec2 ec2(session);
  const std::string region = ec2.region();
  Activity activity(fmt::format("copy {} ({})", region, kind_words(source.kind)));
  std::string id = there ? there->id : "";
  if (there && there->state != "pending") {
    // It failed. Its name must be free again.
    ec2.call("DeregisterImage", Json::object({{"ImageId", id}}));
    id.clear();
  }
  if (id.empty()) {
    // What the token is made of must not be the same for a copy that failed.
    const std::string seed = fmt::format("{} {} {} {}", build.nonce, region, source.id, there ? there->id : "");
    Json params = {{"Name", ami_name(build, source.kind)},
                   {"Description", description_of(build)},
                   {"SourceImageId", source.id},
                   {"SourceRegion", source.region},
                   {"ClientToken", aws::client_token(seed)},
                   {"TagSpecification", tag_specifications(build, source.kind, &region)}};
    const std::string encryption = encryption_in(build.spec, region);
    if (encryption != "no") params["Encrypted"] = true;
    if (encryption != "no" && encryption != "default") params["KmsKeyId"] = encryption;
    try {
      const Json answer = when_visible(session, fmt::format("AMI '{}' of {} to be shown in {}", source.id, source.region, region),
                                       [&] { return ec2.call("CopyImage", params); });
      id = aws::required_text(answer, "imageId");
    } catch (const aws::ApiError& error) {
      if (!error.is_duplicate()) throw;
      id = find_by_name(session, ec2, build, ami_name(build, source.kind)).id;
    }
  }
  Ami ami = wait_for_ami(session, id);
  mark_as_made(ami, build, source.kind);
  activity.finish({{"ami", ami.id}});
  return ami;
}

bool settle_ami(const aws::Session& session, const AmiBuild& build, const Ami& ami) {
  const aws::Ec2 ec2(session);
  bool changed = false;
  settle_tags(ec2, build, ami, changed);
  settle_permissions(session, ec2, build, ami, changed);
  settle_deprecation(ec2, build, ami, changed);
  return changed;
}

bool settle_fast_restore(const aws::Session& session, const AmiBuild& build, const std::string& snapshot) {
  const aws::Ec2 ec2(session);
  std::vector<std::string> zones;
  for (const auto& zone : build.spec.fast_restore_zones) {
    if (zone.substr(0, zone.size() - 1) == ec2.region()) zones.push_back(zone);
  }
  if (zones.empty() || snapshot.empty()) return false;
  const Json answer = ec2.call("DescribeFastSnapshotRestores", aws::filters({{"snapshot-id", {snapshot}}}));
  for (const Json& restore : aws::list(answer, "fastSnapshotRestoreSet")) {
    const std::string state = aws::text(restore, "state");
    if (state == "enabling" || state == "optimizing" || state == "enabled") std::erase(zones, aws::text(restore, "availabilityZone"));
  }
  if (zones.empty()) return false;
  const Json params = {{"AvailabilityZone", zones}, {"SourceSnapshotId", Json::array({snapshot})}};
  const Json enabled = ec2.call("EnableFastSnapshotRestores", params, {aws::Repeat::kAlways});
  for (const Json& refused : aws::list(enabled, "unsuccessful"))
    fail("fast snapshot restore of '{}' in {} is refused: {}", snapshot, ec2.region(), refused.dump());
  return true;
}

std::optional<std::string> find_pv_kernel(const aws::Session& session) {
  // "User provided kernels" (EC2 User Guide): hd00 is for disks with partitions, as kiln's are; the newest version is the one to use.
  Json params = aws::filters({{"image-type", {"kernel"}}, {"architecture", {"x86_64"}}, {"name", {"pv-grub-hd0*-x86_64.gz"}}});
  params["Owner"] = Json::array({"amazon"});
  const Json answer = aws::Ec2(session).call("DescribeImages", params);
  std::string best, id;
  for (const Json& image : aws::list(answer, "imagesSet")) {
    std::string name = aws::text(image, "name");
    // Those for whole disks come last: "pv-grub-hd0_1.05" < "pv-grub-hd00_1.04" in these terms.
    name = (name.starts_with("pv-grub-hd00_") ? "1" : "0") + name.substr(name.find('_') + 1);
    if (!id.empty() && name <= best) continue;
    best = name;
    id = aws::text(image, "imageId");
  }
  return id.empty() ? std::nullopt : std::optional<std::string>(id);
}

}  // namespace kiln::image
