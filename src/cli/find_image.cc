#include "cli/find_image.h"

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

}  // namespace kiln::cli
