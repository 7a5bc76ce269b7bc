#include "provider/aws/amis.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "aws/ec2.h"
#include "base/error.h"
#include "base/strings.h"
#include "provider/aws/stock_images.h"

namespace kiln::provider::on_aws {

namespace {

bool is_ami_id(const std::string& text) {
  return text.starts_with("ami-") && text.size() >= 12 && text.find_first_not_of("0123456789abcdef", 4) == std::string::npos;
}

ImageRef to_ref(const Json& image, const std::string& name) {
  ImageRef ref;
  ref.name = kiln::aws::tag(image, "kiln:image").value_or(name);
  ref.digest = kiln::aws::tag(image, "kiln:digest").value_or("");
  ref.remote_id = kiln::aws::required_text(image, "imageId");
  return ref;
}

// The architecture ("x86_64", "arm64") that all of the cluster's instance types have, which start from one AMI. Nothing when EC2 does not
// tell us: then RunInstances says what does not fit.
std::optional<std::string> architecture_of_types(const kiln::aws::Ec2& ec2, const config::AwsSpec& wish) {
  std::set<std::string> names;
  for (const char* role : {"master", "worker"}) {
    for (auto& name : config::types_of(wish, role)) names.insert(std::move(name));
  }
  std::vector<Json> types;
  try {
    types = ec2.call_all("DescribeInstanceTypes", {{"InstanceType", names}}, "instanceTypeSet");
  } catch (const kiln::aws::ApiError& error) {
    // One that there is not is told where all of the request is; and the right to ask was not needed by earlier versions.
    if (error.code() == "InvalidInstanceType" || error.code() == "UnauthorizedOperation") return std::nullopt;
    throw;
  }
  std::map<std::string, std::string> by_architecture;  // → the first type
  for (const Json& type : types) {
    std::string architecture = "x86_64";
    for (const Json& word : kiln::aws::list(type, "processorInfo/supportedArchitectures")) {
      if (word == "arm64") architecture = "arm64";
    }
    by_architecture.emplace(architecture, kiln::aws::text(type, "instanceType"));
  }
  if (by_architecture.empty()) return std::nullopt;
  if (by_architecture.size() == 1) return by_architecture.begin()->first;
  const auto one = by_architecture.rbegin(), other = std::next(one);
  UsageError error(
      fmt::format("instance types of two architectures: {} is {}, {} is {}", one->second, one->first, other->second, other->first));
  error.set_hint("all machines of a cluster start from one AMI: name types of one architecture, for masters and workers");
  throw error;
}

[[noreturn]] void fail_without(const std::vector<Json>& images, const std::string& name, const std::string& region) {
  std::set<std::string> names;
  for (const auto& image : images) names.insert(kiln::aws::tag(image, "kiln:image").value_or(""));
  UsageError error(fmt::format("there is no AMI of image '{}' in {}", name, region));
  const std::vector<std::string> all(names.begin(), names.end());
  const auto near = nearest(name, all);
  error.set_hint(near ? fmt::format("did you mean '{}'?", *near)
                 : all.empty()
                     ? fmt::format("`kiln bake {} --target ami --regions {}` makes one", name, region)
                     : fmt::format("there are: {}; `kiln bake {} --target ami --regions {}` makes one", join(all, ", "), name, region));
  throw error;
}

// Of an image's AMIs that for the cluster's instance types.
const Json* choose_by_type(const kiln::aws::Ec2& ec2, const std::map<std::string, const Json*>& by_architecture, const std::string& name,
                           const config::AwsSpec& wish) {
  const auto wanted = architecture_of_types(ec2, wish);
  if (!wanted && by_architecture.size() == 1) return by_architecture.begin()->second;
  std::vector<std::string> there;
  for (const auto& [architecture, image] : by_architecture) there.push_back(architecture);
  if (!wanted) {
    UsageError error(fmt::format("image '{}' has AMIs for {}, and EC2 does not tell what {} is", name, join(there, " and "),
                                 config::types_of(wish, "worker").front()));
    error.set_hint("it needs a type that exists in the region, and the right ec2:DescribeInstanceTypes; or name one by --image ami-…");
    throw error;
  }
  const auto found = by_architecture.find(*wanted);
  if (found != by_architecture.end()) return found->second;
  UsageError error(fmt::format("image '{}' has no AMI for {} in {}, which {} needs; it has one for {}", name, *wanted, ec2.region(),
                               config::types_of(wish, "worker").front(), join(there, " and ")));
  error.set_hint(
      fmt::format("'architecture: [amd64, arm64]' in its spec and `kiln bake {} --target ami --regions {}` make both", name, ec2.region()));
  throw error;
}

ImageRef find_any_ami(const kiln::aws::Session& session, const std::string& name, const config::AwsSpec& wish) {
  if (auto stock = find_stock_image(session, name, wish)) return *stock;
  const kiln::aws::Ec2 ec2(session);
  if (is_ami_id(name)) {
    const auto found = ec2.call_all("DescribeImages", {{"ImageId", Json::array({name})}}, "imagesSet");
    if (found.empty()) fail_usage("there is no AMI '{}' in {}", name, session.region());
    ImageRef ref = to_ref(found.front(), name);
    // Tags are seen by their owner only: what is shared by others may be kiln's without them.
    if (!kiln::aws::tag(found.front(), "kiln:image")) ref.stock = read_stock_image(found.front(), wish);
    return ref;
  }
  // All of kiln's: so that a slip can be told with what there is.
  Json wanted = kiln::aws::filters({{"tag-key", {"kiln:image"}}, {"state", {"available"}}});
  wanted["Owner"] = Json::array({"self"});
  const auto all = ec2.call_all("DescribeImages", wanted, "imagesSet");
  std::map<std::string, const Json*> newest;  // by architecture
  for (const auto& image : all) {
    if (kiln::aws::tag(image, "kiln:image") != name || kiln::aws::text(image, "virtualizationType") == "paravirtual") continue;
    const Json*& best = newest[kiln::aws::text(image, "architecture")];
    if (best == nullptr || kiln::aws::text(image, "creationDate") > kiln::aws::text(*best, "creationDate")) best = &image;
  }
  if (newest.empty()) fail_without(all, name, session.region());
  return to_ref(*choose_by_type(ec2, newest, name, wish), name);
}

}  // namespace

ImageRef find_ami(const kiln::aws::Session& session, const std::string& name, const config::AwsSpec& wish) {
  ImageRef ref = find_any_ami(session, name, wish);
  if (ref.stock) return ref;
  // Kiln's own let in root, and have their modules.
  if (!wish.user.empty()) fail_usage("--user {}: it is for stock images, and '{}' is one of kiln's", wish.user, name);
  if (!wish.install.empty()) fail_usage("--install {}: it is for stock images, and '{}' is one of kiln's", wish.install, name);
  return ref;
}

}  // namespace kiln::provider::on_aws
