#include "image/remote_images.h"

#include "base/error.h"
#include "base/strings.h"
#include "image/ami_manage.h"

namespace kiln::image {

namespace {

struct Place {
  const char* name;
  std::unique_ptr<RemoteImages> (*open)(const RemoteOptions& options);
};
constexpr Place kPlaces[] = {{"aws", open_amis}};

}  // namespace

std::vector<std::string> remote_places() {
  std::vector<std::string> names;
  for (const auto& place : kPlaces) names.emplace_back(place.name);
  return names;
}

std::unique_ptr<RemoteImages> remote_images(const std::string& name, const RemoteOptions& options) {
  for (const auto& place : kPlaces) {
    if (name == place.name) return place.open(options);
  }
  UsageError error(fmt::format("--on: there are no images on '{}'", name));
  error.set_hint("one of " + join(remote_places(), ", "));
  throw error;
}

}  // namespace kiln::image
