#include "bake/accounts.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/strings.h"

namespace kiln::bake {

namespace {

struct Line {
  std::vector<std::string> fields;
  std::string module;
};

// Members of a group, from both.
std::string merge_members(const std::string& a, const std::string& b) {
  std::vector<std::string> members;
  for (const auto* list : {&a, &b}) {
    for (const auto& name : split(*list, ',')) {
      if (!name.empty() && std::find(members.begin(), members.end(), name) == members.end()) members.push_back(name);
    }
  }
  return join(members, ",");
}

}  // namespace

const std::vector<std::string>& account_files() {
  static const std::vector<std::string> kFiles = {"etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/subuid", "etc/subgid"};
  return kFiles;
}

bool is_account_file(std::string_view path) {
  return std::find(account_files().begin(), account_files().end(), path) != account_files().end();
}

std::string merge_accounts(std::string_view path, const std::vector<AccountText>& layers) {
  const bool has_numbers = path == "etc/passwd" || path == "etc/group";
  const bool has_members = path == "etc/group" || path == "etc/gshadow";
  std::vector<std::string> order;
  std::map<std::string, Line> lines;
  std::map<std::string, std::vector<std::string>> in_base;
  std::map<std::string, std::string> owner_of_number;
  for (const auto& layer : layers) {
    for (const auto& raw : split(layer.text, '\n')) {
      if (raw.empty()) continue;
      Line line{split(raw, ':'), layer.module};
      const std::string& name = line.fields[0];
      const auto found = lines.find(name);
      if (found == lines.end()) {
        if (has_numbers && line.fields.size() > 2 && !layer.module.empty()) {
          const auto [other, fresh] = owner_of_number.emplace(line.fields[2], name);
          if (!fresh) {
            const std::string& first = lines.at(other->second).module;
            Error error(fmt::format("{} gives '{}' the number {} in /{}, which '{}' has{}",
                                    layer.module.empty() ? "the base" : "module '" + layer.module + "'", name, line.fields[2], path,
                                    other->second, first.empty() ? " already" : " from module '" + first + "'"));
            error.set_hint("give accounts fixed numbers of their own (useradd --uid)");
            throw error;
          }
        }
        if (has_numbers && line.fields.size() > 2) owner_of_number.emplace(line.fields[2], name);
        order.push_back(name);
        if (layer.module.empty()) in_base[name] = line.fields;
        lines.emplace(name, std::move(line));
        continue;
      }
      Line& before = found->second;
      // A line as the base has it says only that this module did not change it, even where another one did.
      if (const auto base = in_base.find(name); before.fields == line.fields || (base != in_base.end() && base->second == line.fields))
        continue;
      if (has_numbers && before.fields.size() > 2 && line.fields.size() > 2 && before.fields[2] != line.fields[2]) {
        fail("modules '{}' and '{}' give '{}' different numbers in /{}: {} and {}", before.module, layer.module, name, path,
             before.fields[2], line.fields[2]);
      }
      if (has_members && before.fields.size() == line.fields.size())
        line.fields.back() = merge_members(before.fields.back(), line.fields.back());
      before = std::move(line);
    }
  }
  std::string text;
  for (const auto& name : order) text += join(lines.at(name).fields, ":") + "\n";
  return text;
}

bool accounts_clash(std::string_view a, std::string_view b) {
  std::map<std::string, std::string> number_of;
  std::set<std::string> names, numbers;  // names: with their numbers
  const auto visit = [](std::string_view text, const auto& visitor) {
    for (const auto& line : split(text, '\n')) {
      if (const auto fields = split(line, ':'); fields.size() > 2) visitor(fields[0], fields[2]);
    }
  };
  visit(a, [&](const std::string& name, const std::string& number) {
    number_of[name] = number;
    names.insert(name + ":" + number);
    numbers.insert(number);
  });
  bool clash = false;
  visit(b, [&](const std::string& name, const std::string& number) {
    if (names.count(name + ":" + number) == 0) clash = clash || number_of.count(name) != 0 || numbers.count(number) != 0;
  });
  return clash;
}

}  // namespace kiln::bake
