#include "provider/aws/amis.h"

#include <algorithm>
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
  const Json* newest = nullptr;
  for (const auto& image : all) {
    if (kiln::aws::tag(image, "kiln:image") != name || kiln::aws::text(image, "virtualizationType") == "paravirtual") continue;
    if (newest == nullptr || kiln::aws::text(image, "creationDate") > kiln::aws::text(*newest, "creationDate")) newest = &image;
  }
  if (newest == nullptr) fail_without(all, name, session.region());
  return to_ref(*newest, name);
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
