// --explain: in what two layers of one name differ, in the words of the files that people edit.
#include <algorithm>
#include <set>

#include "bake/plan.h"
#include "base/strings.h"

namespace kiln::bake {

namespace {

Json member(const Json& object, const std::string& name) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(name);
  return it == object.end() ? Json(nullptr) : *it;
}

std::set<std::string> names_in(const Json& a, const Json& b) {
  std::set<std::string> names;
  for (const auto* object : {&a, &b}) {
    if (!object->is_object()) continue;
    for (const auto& [name, value] : object->items()) names.insert(name);
  }
  return names;
}

std::string plain(const Json& value) {
  if (value.is_null()) return "(none)";
  const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  return text.empty() ? "(empty)" : text;
}

class Differences {
 public:
  void add(std::string text) { all_.push_back(std::move(text)); }
  bool empty() const { return all_.empty(); }
  // A whole list is no longer an explanation: three, and how many more.
  std::string text() const {
    constexpr std::size_t kMost = 3;
    std::vector<std::string> shown(all_.begin(), all_.begin() + static_cast<std::ptrdiff_t>(std::min(kMost, all_.size())));
    std::string text = join(shown, "; ");
    if (all_.size() > kMost) text += "; and " + std::to_string(all_.size() - kMost) + " more";
    return text;
  }

 private:
  std::vector<std::string> all_;
};

void compare_modules(Differences& differences, const Json& before, const Json& now) {
  for (const auto& name : names_in(before, now)) {
    const Json old_module = member(before, name), new_module = member(now, name);
    if (old_module.is_null() || new_module.is_null()) {
      differences.add("module " + name + (old_module.is_null() ? " was added" : " was removed"));
      continue;
    }
    const Json old_files = member(old_module, "files"), new_files = member(new_module, "files");
    for (const auto& file : names_in(old_files, new_files)) {
      const Json a = member(old_files, file), b = member(new_files, file);
      if (a != b) differences.add(file + " of module " + name + (a.is_null() ? " was added" : b.is_null() ? " was removed" : " changed"));
    }
    const Json old_params = member(old_module, "params"), new_params = member(new_module, "params");
    for (const auto& parameter : names_in(old_params, new_params)) {
      const Json a = member(old_params, parameter), b = member(new_params, parameter);
      if (a != b) differences.add("parameter '" + parameter + "' of module " + name + ": " + plain(a) + " → " + plain(b));
    }
  }
}

void compare_packages(Differences& differences, const Json& before, const Json& now) {
  const auto missing_in = [](const Json& from, const Json& in) {
    std::vector<std::string> names;
    for (const auto& name : from) {
      if (std::find(in.begin(), in.end(), name) == in.end()) names.push_back(name.get<std::string>());
    }
    return names;
  };
  if (const auto added = missing_in(now, before); !added.empty()) differences.add("packages added: " + join(added, ", "));
  if (const auto removed = missing_in(before, now); !removed.empty()) differences.add("packages removed: " + join(removed, ", "));
}

void compare_below(Differences& differences, const Json& before, const Json& now) {
  const auto key_in = [](const Json& list, const Json& name) {
    for (const auto& layer : list) {
      if (member(layer, "name") == name) return member(layer, "key");
    }
    return Json(nullptr);
  };
  // The lowest that changed: what is above it changed for that reason.
  for (const auto& layer : now) {
    const Json before_key = key_in(before, member(layer, "name"));
    if (before_key == member(layer, "key")) continue;
    differences.add("the layer '" + plain(member(layer, "name")) + "' below it " + (before_key.is_null() ? "is new" : "changed"));
    return;
  }
  for (const auto& layer : before) {
    if (!key_in(now, member(layer, "name")).is_null()) continue;
    differences.add("the layer '" + plain(member(layer, "name")) + "' below it is gone");
    return;
  }
}

}  // namespace

std::string explain_change(const Json& before, const Json& now) {
  Differences own, below;
  for (const auto& name : names_in(before, now)) {
    const Json a = member(before, name), b = member(now, name);
    if (a == b) continue;
    if (name == "below") {
      compare_below(below, a.is_array() ? a : Json::array(), b.is_array() ? b : Json::array());
    } else if (name == "modules") {
      compare_modules(own, a, b);
    } else if (name == "packages") {
      compare_packages(own, a, b);
    } else if (name == "sources") {
      for (const auto& source : names_in(a, b)) {
        if (member(a, source) != member(b, source))
          own.add(member(now, "module").is_null() ? "the base's image changed"
                                                  : "source '" + source + "' of module " + plain(member(now, "module")) + " changed");
      }
    } else if (name == "builtins") {
      for (const auto& builtin : names_in(a, b)) {
        if (member(a, builtin) != member(b, builtin))
          own.add(builtin + ": " + plain(member(a, builtin)) + " → " + plain(member(b, builtin)));
      }
    } else if (name == "lock") {
      own.add("other package versions are locked");
    } else if (name == "agent") {
      own.add("kiln-node changed");
    } else if (name == "tarball") {
      own.add("the base's tarball changed");
    } else if (name == "format" || name == "bill") {
      own.add("this version of kiln makes layers in another way");
    } else {
      own.add(name + ": " + plain(a) + " → " + plain(b));
    }
  }
  // What changed by itself says more than what changed below; the latter is told when there is nothing else.
  if (!own.empty()) return own.text();
  return below.empty() ? "its inputs changed" : below.text();
}

}  // namespace kiln::bake
