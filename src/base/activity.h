// All work is told as activities: begin, progress, end, with an id, a parent, a node and typed fields. The terminal's progress
// lines, the JSON log and the launch timeline are sinks of this one stream. The agent speaks the same events over the wire:
// Event::to_json/from_json is that format (one JSON object, members as below, empty ones left out).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/json.h"

namespace kiln {

struct Event {
  enum class Kind { kBegin, kProgress, kEnd, kMessage };
  Kind kind = Kind::kMessage;    // "kind": "begin" | "progress" | "end" | "message"
  double time = 0;               // "time": seconds since 1970, UTC
  std::uint64_t id = 0;          // "id": of the activity, unique on its node
  std::uint64_t parent = 0;      // "parent": id of the activity it belongs to
  std::string node;              // "node": which node; empty: the launcher itself
  std::string name;              // "name": what, e.g. "layer spark", "service spark.master"
  std::string text;              // "text": words for people: a message, why something failed
  bool ok = true;                // "ok": false on an end that failed
  Json fields = Json::object();  // "fields": anything typed: bytes, done, total, exit_code …

  Json to_json() const;
  // Throws Error naming the member that is missing or of the wrong type.
  static Event from_json(const Json& json);
};

double now_in_seconds();

class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void on_event(const Event& event) = 0;  // called under the stream's lock, from any thread
};

// The process's stream.
void add_sink(std::shared_ptr<EventSink> sink);
void remove_sink(const std::shared_ptr<EventSink>& sink);
void publish(Event event);  // fills in `time` when 0
// A line for people, at no particular activity.
void say(std::string text, std::string node = {});

// One activity; its end is told by finish(), fail() or, when an exception passes, by the destructor.
class Activity {
 public:
  explicit Activity(std::string name, Json fields = Json::object(), std::uint64_t parent = 0, std::string node = {});
  ~Activity();
  Activity(const Activity&) = delete;
  Activity& operator=(const Activity&) = delete;

  std::uint64_t id() const { return id_; }
  void progress(Json fields, std::string text = {});
  void finish(Json fields = Json::object(), std::string text = {});
  void fail(std::string why);

 private:
  void end(bool ok, std::string text, Json fields);
  std::uint64_t id_;
  std::string name_, node_;
  int exceptions_;
  bool ended_ = false;
};

}  // namespace kiln
