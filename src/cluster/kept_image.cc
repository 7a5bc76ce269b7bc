#include "cluster/kept_image.h"

#include "base/activity.h"
#include "base/error.h"
#include "image/targets.h"

namespace kiln::cluster {

namespace {

// As long as names of images may be, with "-" and the digest's beginning.
constexpr std::size_t kDigestLetters = 12, kNameLetters = 64 - kDigestLetters - 1;

std::optional<provider::ImageRef> find_kept(provider::Provider& provider, const config::ClusterSpec& spec) {
  try {
    return provider.find_image(spec);
  } catch (const Interrupted&) {
    throw;
  } catch (const UsageError&) {
    return std::nullopt;  // not there yet; what else is wrong is found again when it is
  }
}

// For this launch alone: in its region, for its account, of one kind.
config::AmiSpec spec_for_launch(const config::ClusterSpec& spec, const bake::Image& image) {
  config::AmiSpec ami = config::image_spec_from_json(image.spec).ami.value_or(config::AmiSpec());
  ami.all_regions = false;
  ami.regions.clear();
  ami.profiles.clear();
  if (!spec.aws.region.empty()) ami.regions.push_back(spec.aws.region);
  if (!spec.aws.profile.empty()) ami.profiles.push_back(spec.aws.profile);
  ami.virtualization = {"hvm"};
  if (ami.boot_modes.size() > 1) ami.boot_modes.resize(1);
  ami.accounts.clear();
  ami.is_public = false;
  ami.fast_restore_zones.clear();
  return ami;
}

}  // namespace

provider::ImageRef keep_image(bake::Store& store, provider::Provider& provider, const config::ClusterSpec& spec, const bake::Image& image,
                              const bake::BakeOptions& options) {
  config::ClusterSpec wanted = spec;
  wanted.image = image.name.substr(0, kNameLetters) + "-" + image.digest.substr(0, kDigestLetters);
  if (auto kept = find_kept(provider, wanted)) return *kept;
  say(fmt::format("provider '{}' has no such image yet: making '{}'", spec.provider, wanted.image));
  image::TargetOptions target;
  target.bake = options;
  target.ami.spec = spec_for_launch(spec, image);
  target.ami.image = wanted.image;
  target.ami.like = image.name;
  image::check_targets({provider.image_target()});
  image::make_targets(store, image, {provider.image_target()}, target);
  auto kept = provider.find_image(wanted);
  if (!kept) fail("image '{}' was made, and provider '{}' does not have it", wanted.image, spec.provider);
  return *kept;
}

}  // namespace kiln::cluster
