#include "provider/aws/stock_images.h"

#include <algorithm>

#include "aws/ec2.h"
#include "aws/ssm.h"
#include "base/error.h"
#include "base/strings.h"

namespace kiln::provider::on_aws {

namespace {

using Kind = config::BaseSpec::Kind;

// Sources: Debian's wiki, "Cloud/AmazonEC2Image"; Canonical's "Find Ubuntu images on AWS"; Amazon's "AL2023 on Amazon EC2". {} in a
// parameter is the architecture, in the distribution's own word.
struct Distribution {
  const char* name;
  Kind kind;
  const char* suite;
  const char* os_id;
  const char* os_version;
  const char* family;
  const char* user;
  const char* parameter;
  const char* title;    // how the names of its images begin
  bool is_kernel_word;  // x86_64, not amd64
};
constexpr Distribution kDistributions[] = {
    {"debian-12", Kind::kDebian, "bookworm", "debian", "12", "debian", "admin", "/aws/service/debian/release/12/latest/{}", "debian-12-",
     false},
    {"debian-13", Kind::kDebian, "trixie", "debian", "13", "debian", "admin", "/aws/service/debian/release/13/latest/{}", "debian-13-",
     false},
    {"ubuntu-22.04", Kind::kUbuntu, "jammy", "ubuntu", "22.04", "debian", "ubuntu",
     "/aws/service/canonical/ubuntu/server/22.04/stable/current/{}/hvm/ebs-gp2/ami-id", "ubuntu/images/hvm-ssd/ubuntu-jammy-", false},
    {"ubuntu-24.04", Kind::kUbuntu, "noble", "ubuntu", "24.04", "debian", "ubuntu",
     "/aws/service/canonical/ubuntu/server/24.04/stable/current/{}/hvm/ebs-gp3/ami-id", "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-", false},
    {"amazon-linux-2023", Kind::kOci, "al2023", "amzn", "2023", "rpm", "ec2-user",
     "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{}", "al2023-ami-", true}};

StockImage to_stock_image(const Distribution& distribution, const std::string& architecture, const config::AwsSpec& wish) {
  StockImage stock;
  stock.base.kind = distribution.kind;
  stock.base.suite = distribution.suite;
  if (distribution.kind == Kind::kOci) stock.base.oci = distribution.name;  // no suite of an archive: it has to have some name
  stock.architecture = architecture;
  stock.os_id = distribution.os_id;
  stock.os_version = distribution.os_version;
  stock.package_family = distribution.family;
  stock.user = wish.user.empty() ? distribution.user : wish.user;
  stock.modules_of = wish.install.empty() ? "spark" : wish.install;
  return stock;
}

std::string parameter_of(const Distribution& distribution, const std::string& architecture) {
  std::string name = distribution.parameter;
  const std::string word = distribution.is_kernel_word && architecture == "amd64" ? "x86_64" : architecture;
  name.replace(name.find("{}"), 2, word);
  return name;
}

// "debian-13-arm64" → the parameter's name; "ssm:NAME" → NAME.
std::optional<std::string> find_parameter(const std::string& name) {
  if (name.starts_with("ssm:")) return name.substr(4);
  for (const auto& distribution : kDistributions) {
    if (name == distribution.name) return parameter_of(distribution, "amd64");
    for (const char* architecture : {"amd64", "arm64"}) {
      if (name == fmt::format("{}-{}", distribution.name, architecture)) return parameter_of(distribution, architecture);
    }
  }
  return std::nullopt;
}

std::string known_names() {
  std::string names;
  for (const auto& distribution : kDistributions) names += std::string(names.empty() ? "" : ", ") + distribution.name;
  return names;
}

}  // namespace

std::optional<StockImage> read_stock_image(const Json& image, const config::AwsSpec& wish) {
  const std::string title = kiln::aws::text(image, "name");
  const std::string architecture = kiln::aws::text(image, "architecture") == "arm64" ? "arm64" : "amd64";
  for (const auto& distribution : kDistributions) {
    if (title.starts_with(distribution.title)) return to_stock_image(distribution, architecture, wish);
  }
  return std::nullopt;
}

std::optional<ImageRef> find_stock_image(const kiln::aws::Session& session, const std::string& name, const config::AwsSpec& wish) {
  const auto parameter = find_parameter(name);
  if (!parameter) return std::nullopt;
  const auto id = kiln::aws::Ssm(session).parameter(*parameter);
  if (!id) {
    UsageError error(fmt::format("SSM has no parameter '{}' in {}", *parameter, session.region()));
    error.set_hint(fmt::format("by name there are: {}", known_names()));
    throw error;
  }
  const kiln::aws::Ec2 ec2(session);
  const auto found = ec2.call_all("DescribeImages", {{"ImageId", Json::array({*id})}}, "imagesSet");
  if (found.empty()) fail("SSM's parameter '{}' names '{}', and there is no such AMI in {}", *parameter, *id, session.region());
  ImageRef ref;
  const std::string title = kiln::aws::text(found.front(), "name");
  ref.name = name.starts_with("ssm:") ? title.substr(title.rfind('/') + 1) : name;
  ref.remote_id = *id;
  ref.stock = read_stock_image(found.front(), wish);
  if (!ref.stock) {
    UsageError error(fmt::format("'{}' ({}) is no image of a distribution that kiln can make nodes of", ref.name, *id));
    error.set_hint(fmt::format("those are: {}", known_names()));
    throw error;
  }
  return ref;
}

}  // namespace kiln::provider::on_aws
