#include "cli/find_image.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace kiln::cli {

bake::Image find_image(const bake::Store& store, const std::string& name) {
  if (auto image = store.find_image(name)) return *image;
  std::vector<std::string> names;
  for (const auto& image : store.images()) names.push_back(image.name);
  UsageError error(fmt::format("there is no image '{}'", name));
  const auto near = nearest(name, names);
  error.set_hint(near            ? fmt::format("did you mean '{}'?", *near)
                 : names.empty() ? "`kiln bake SPEC` makes one"
                                 : "there are: " + join(names, ", "));
  throw error;
}

std::vector<bake::Image> find_images(const bake::Store& store, const std::vector<std::string>& names, const std::string& architecture) {
  std::vector<bake::Image> found;
  const auto add = [&](bake::Image image) {
    const bool known = std::any_of(found.begin(), found.end(), [&](const auto& one) { return one.name == image.name; });
    if (!known && (architecture.empty() || image.architecture == architecture)) found.push_back(std::move(image));
  };
  for (const auto& name : names) {
    const bake::Image image = find_image(store, name);
    add(image);
    if (image.architecture == architecture) continue;
    for (const auto& other : image.beside) {
      auto beside = store.find_image(other);
      if (beside) {
        add(std::move(*beside));
      } else if (architecture.empty()) {
        Error error(fmt::format("image '{}' is one of several, and '{}' is not there", name, other));
        error.set_hint(fmt::format("`kiln bake` makes it again; --architecture {} takes '{}' alone", image.architecture, name));
        throw error;
      }
    }
  }
  if (!found.empty()) return found;
  fail_usage("--architecture {}: there is no image '{}' for it", architecture, join(names, "', '"));
}

}  // namespace kiln::cli
