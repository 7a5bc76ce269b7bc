// Numbered events: what this node tells (NodeEvents), and on masters what the whole cluster told (docs/channel.md).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>

#include "base/activity.h"
#include "base/json.h"

namespace kiln::node {

// Entries with growing numbers from 1, of which the last are kept. Readers hold a number and ask for what follows it,
// so that a slow one costs no memory: when it has fallen too far behind it finds its place gone.
class NumberedLog {
 public:
  NumberedLog(std::size_t max_entries, std::size_t max_bytes) : max_entries_(max_entries), max_bytes_(max_bytes) {}

  std::uint64_t next_number() const { return first_ + entries_.size(); }
  std::uint64_t first_number() const { return first_; }
  void add(std::string entry);
  // The entry with that number; nullptr when it is gone or not there yet.
  const std::string* find(std::uint64_t number) const;

  int listen(std::function<void()> listener);
  void drop(int id) { listeners_.erase(id); }

 private:
  std::size_t max_entries_, max_bytes_, bytes_ = 0;
  std::uint64_t first_ = 1;
  std::deque<std::string> entries_;
  std::map<int, std::function<void()>> listeners_;
  int last_listener_ = 0;
};

// This node's own events; numbers are the node's.
class NodeEvents {
 public:
  explicit NodeEvents(std::string node) : node_(std::move(node)) {}

  std::uint64_t begin(const std::string& name, Json fields = Json::object(), std::uint64_t parent = 0);
  void end(std::uint64_t id, const std::string& name, bool ok, std::string text = {}, Json fields = Json::object());
  void message(const std::string& name, std::string text, bool ok = true, Json fields = Json::object());

  // Each entry is the event's JSON.
  NumberedLog& log() { return log_; }

 private:
  void add(Event event);
  std::string node_;
  std::uint64_t last_id_ = 0;
  // Enough for an hour without any master at one event a second.
  NumberedLog log_{4000, 4u << 20};
};

}  // namespace kiln::node
