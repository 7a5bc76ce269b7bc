// YAML with positions: a small tree over yaml-cpp's parser that turns every mistake into a ConfigError at its place.
//
// Why not yaml-cpp's own nodes: they keep no place for keys, drop duplicate keys without a word, and follow aliases without limit.
// Ours is built from the parser's events, so limits hold while reading, and no other file needs yaml-cpp's headers.
// Scalars stay the text that was written (4.10 is no number here), whether quoted or not.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/diagnostic.h"

namespace kiln::config {

// How deep lists and maps may nest, and how many values a document may have once its aliases are followed.
inline constexpr int kMaxYamlDepth = 64;
inline constexpr std::size_t kMaxYamlValues = 100'000;

struct YamlItem;  // yaml_tree.h

class Value {
 public:
  // Parses a whole document. ConfigError for broken YAML, several documents, duplicate keys, anchors that loop, nesting over 64 deep,
  // text that is not UTF-8. An empty document is a null value.
  static Value parse(std::string file, std::string text);

  // Absent, empty or ~.
  bool is_null() const;
  bool is_map() const;
  bool is_list() const;
  bool is_scalar() const;

  // Typed reads; ConfigError "'what' must be a list, found text" and the like.
  std::string as_string(std::string_view what) const;
  bool as_bool(std::string_view what) const;
  std::int64_t as_int(std::string_view what, std::int64_t min, std::int64_t max) const;
  double as_number(std::string_view what, double min, double max) const;
  // A size in bytes: 512m, 2g, 1.5 GiB, 4096 (bytes); suffixes k m g t are powers of 1024.
  std::int64_t as_size_bytes(std::string_view what) const;
  // 90s, 15m, 8h, 2d, 1h30m. A bare number counts seconds where `bare_seconds`, else it is refused.
  std::chrono::seconds as_duration(std::string_view what, bool bare_seconds = false) const;
  // One of the words; the error suggests the nearest.
  std::string as_word(std::string_view what, const std::vector<std::string>& words) const;
  // A null value is an empty list or map.
  std::vector<Value> as_list(std::string_view what) const;
  // A scalar counts as a list of one.
  std::vector<Value> as_scalars(std::string_view what) const;
  std::vector<std::string> as_strings(std::string_view what) const;
  // Keys in the order written.
  std::vector<std::pair<std::string, Value>> as_map(std::string_view what) const;

  // The member, or a null value. Only on maps.
  Value operator[](std::string_view key) const;
  // ConfigError at the first key that is not among `known`, with the nearest known one suggested.
  void only_keys(std::string_view what, const std::vector<std::string>& known) const;
  // ConfigError when the key is absent or has no value.
  Value required(std::string_view what, std::string_view key) const;

  // Runs `check`; a UsageError without a place becomes one at this value. For the checks in names.h and the like.
  template <class Check>
  auto at_this_place(Check&& check) const -> decltype(check()) {
    try {
      return check();
    } catch (const ConfigError&) {
      throw;
    } catch (const Error& error) {
      fail(error.message(), error.hint_text());
    }
  }

  [[noreturn]] void fail(std::string_view message, std::string hint = {}) const;
  // At the key that this value was found under, or at the value where it has none.
  [[noreturn]] void fail_at_key(std::string_view message, std::string hint = {}) const;
  // At `part` of the text as written, where the value stands in one line and has it; else at the value.
  [[noreturn]] void fail_at_part(std::string_view part, std::string_view message, std::string hint = {}) const;
  Position position() const;
  Place place() const { return {source_, position()}; }
  Place key_place() const;
  const Source& source() const { return *source_; }

 private:
  Value(std::shared_ptr<const Source> source, std::shared_ptr<const YamlItem> item, Position key_at = {})
      : source_(std::move(source)), item_(std::move(item)), key_at_(key_at) {}
  std::shared_ptr<const Source> source_;
  std::shared_ptr<const YamlItem> item_;
  Position key_at_;
};

}  // namespace kiln::config
