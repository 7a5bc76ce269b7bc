#include "base/activity.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <vector>

#include "base/error.h"

namespace kiln {

namespace {

constexpr const char* kKindNames[] = {"begin", "progress", "end", "message"};

std::mutex& stream_lock() {
  static std::mutex lock;
  return lock;
}
std::vector<std::shared_ptr<EventSink>>& sinks() {
  static std::vector<std::shared_ptr<EventSink>> all;
  return all;
}
// Starts at the clock, so that ids of several processes that feed one stream (cells and their owner) do not meet; 2^52 nanoseconds
// are 52 days, and JSON numbers stay exact.
std::atomic<std::uint64_t> next_id{static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) &
                                   ((1ULL << 52) - 1)};

template <class T>
T member(const Json& json, const char* name, T fallback, bool (Json::*right_type)() const noexcept) {
  const auto it = json.find(name);
  if (it == json.end()) return fallback;
  if (!((*it).*right_type)()) fail("event: member '{}' has the wrong type ({})", name, it->type_name());
  return it->get<T>();
}

}  // namespace

Json Event::to_json() const {
  Json json = {{"kind", kKindNames[static_cast<int>(kind)]}, {"time", time}};
  if (id != 0) json["id"] = id;
  if (parent != 0) json["parent"] = parent;
  if (!node.empty()) json["node"] = node;
  if (!name.empty()) json["name"] = name;
  if (!text.empty()) json["text"] = text;
  if (!ok) json["ok"] = false;
  if (!fields.empty()) json["fields"] = fields;
  return json;
}

Event Event::from_json(const Json& json) {
  if (!json.is_object()) fail("event: expected an object, found {}", json.type_name());
  Event event;
  const auto kind = member<std::string>(json, "kind", "", &Json::is_string);
  const auto found = std::find(std::begin(kKindNames), std::end(kKindNames), kind);
  if (found == std::end(kKindNames)) fail("event: member 'kind' is '{}', not begin, progress, end or message", kind);
  event.kind = static_cast<Kind>(found - std::begin(kKindNames));
  event.time = member<double>(json, "time", 0, &Json::is_number);
  event.id = member<std::uint64_t>(json, "id", 0, &Json::is_number_unsigned);
  event.parent = member<std::uint64_t>(json, "parent", 0, &Json::is_number_unsigned);
  event.node = member<std::string>(json, "node", "", &Json::is_string);
  event.name = member<std::string>(json, "name", "", &Json::is_string);
  event.text = member<std::string>(json, "text", "", &Json::is_string);
  event.ok = member<bool>(json, "ok", true, &Json::is_boolean);
  event.fields = member<Json>(json, "fields", Json::object(), &Json::is_object);
  return event;
}

double now_in_seconds() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

void add_sink(std::shared_ptr<EventSink> sink) {
  const std::lock_guard guard(stream_lock());
  sinks().push_back(std::move(sink));
}

void remove_sink(const std::shared_ptr<EventSink>& sink) {
  const std::lock_guard guard(stream_lock());
  std::erase(sinks(), sink);
}

void publish(Event event) {
  if (event.time == 0) event.time = now_in_seconds();
  const std::lock_guard guard(stream_lock());
  for (const auto& sink : sinks()) sink->on_event(event);
}

void say(std::string text, std::string node) {
  Event event;
  event.text = std::move(text);
  event.node = std::move(node);
  publish(std::move(event));
}

Activity::Activity(std::string name, Json fields, std::uint64_t parent, std::string node)
    : id_(next_id++), name_(std::move(name)), node_(std::move(node)), exceptions_(std::uncaught_exceptions()) {
  Event event;
  event.kind = Event::Kind::kBegin;
  event.id = id_;
  event.parent = parent;
  event.node = node_;
  event.name = name_;
  event.fields = std::move(fields);
  publish(std::move(event));
}

Activity::~Activity() {
  if (!ended_) end(std::uncaught_exceptions() == exceptions_, {}, Json::object());
}

void Activity::progress(Json fields, std::string text) {
  Event event;
  event.kind = Event::Kind::kProgress;
  event.id = id_;
  event.node = node_;
  event.name = name_;
  event.fields = std::move(fields);
  event.text = std::move(text);
  publish(std::move(event));
}

void Activity::finish(Json fields, std::string text) { end(true, std::move(text), std::move(fields)); }
void Activity::fail(std::string why) { end(false, std::move(why), Json::object()); }

void Activity::end(bool ok, std::string text, Json fields) {
  if (ended_) return;
  ended_ = true;
  Event event;
  event.kind = Event::Kind::kEnd;
  event.id = id_;
  event.node = node_;
  event.name = name_;
  event.ok = ok;
  event.text = std::move(text);
  event.fields = std::move(fields);
  publish(std::move(event));
}

}  // namespace kiln
