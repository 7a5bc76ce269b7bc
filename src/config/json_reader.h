// Reads a JSON object member by member; whatever is missing, unknown, of the wrong type or out of range is an Error that names it:
// "node document: 'nodes[2].address' must be text, found a number".
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"

namespace kiln::config {

class JsonReader {
 public:
  // `what` begins every message; `path` is where the object stands in it ("" for the whole). Error when it is no object.
  JsonReader(const Json& json, std::string what, std::string path = {});

  std::string text(const std::string& key);  // required
  std::string text_or(const std::string& key, std::string otherwise);
  bool flag_or(const std::string& key, bool otherwise);
  std::int64_t integer_or(const std::string& key, std::int64_t otherwise, std::int64_t min, std::int64_t max);
  double number_or(const std::string& key, double otherwise, double min, double max);
  // Absent: empty.
  std::vector<std::string> texts(const std::string& key);
  std::map<std::string, std::string> text_map(const std::string& key);
  std::vector<JsonReader> objects(const std::string& key);
  std::map<std::string, JsonReader> object_map(const std::string& key);
  bool has(const std::string& key) const { return json_->contains(key); }
  JsonReader object(const std::string& key);  // required

  // Error for the first member that nobody asked for.
  void only_read_members() const;
  [[noreturn]] void fail(const std::string& key, const std::string& problem, std::string hint = {}) const;

 private:
  const Json* find(const std::string& key);
  std::string path_of(const std::string& key) const;
  const Json* json_;
  std::string what_, path_;
  std::set<std::string> asked_;
};

}  // namespace kiln::config
