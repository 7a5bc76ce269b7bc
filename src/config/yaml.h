// YAML with positions: a thin reader over yaml-cpp that turns every mistake into a ConfigError at its place.
#pragma once

#include <yaml-cpp/yaml.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostic.h"

namespace kiln::config {

// One document: its name and text, for messages.
struct Source {
  std::string file;
  std::string text;
};

class Value {
 public:
  // Parses a whole document. ConfigError for broken YAML, several documents, duplicate keys, anchors that loop, nesting over 64 deep.
  static Value parse(std::string file, std::string text);

  bool is_null() const;
  bool is_map() const;
  bool is_list() const;
  bool is_scalar() const;

  // Typed reads; ConfigError "expected a number, found a list" and the like.
  std::string as_string(std::string_view what) const;
  bool as_bool(std::string_view what) const;
  std::int64_t as_int(std::string_view what, std::int64_t min, std::int64_t max) const;
  // A size in bytes: 512m, 2g, 1.5 GiB, 4096 (bytes); suffixes k m g t are powers of 1024.
  std::int64_t as_size_bytes(std::string_view what) const;
  std::vector<Value> as_list(std::string_view what) const;
  // A scalar counts as a list of one.
  std::vector<std::string> as_strings(std::string_view what) const;
  // Keys in the order written.
  std::vector<std::pair<std::string, Value>> as_map(std::string_view what) const;

  // The member, or a null value. Only on maps.
  Value operator[](std::string_view key) const;
  // ConfigError at the first key that is not among `known`, with the nearest known one suggested.
  void only_keys(std::string_view what, const std::vector<std::string>& known) const;
  // ConfigError when the key is absent.
  Value required(std::string_view what, std::string_view key) const;

  [[noreturn]] void fail(std::string_view message, std::string hint = {}) const;
  Position position() const;
  const Source& source() const { return *source_; }

 private:
  Value(std::shared_ptr<const Source> source, YAML::Node node) : source_(std::move(source)), node_(std::move(node)) {}
  std::shared_ptr<const Source> source_;
  YAML::Node node_;
};

}  // namespace kiln::config
