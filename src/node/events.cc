#include "node/events.h"

#include "base/channel.h"

namespace kiln::node {

void NumberedLog::add(std::string entry) {
  bytes_ += entry.size();
  entries_.push_back(std::move(entry));
  while (entries_.size() > 1 && (entries_.size() > max_entries_ || bytes_ > max_bytes_)) {
    bytes_ -= entries_.front().size();
    entries_.pop_front();
    ++first_;
  }
  for (auto it = listeners_.begin(); it != listeners_.end();) (it++)->second();
}

const std::string* NumberedLog::find(std::uint64_t number) const {
  if (number < first_ || number >= next_number()) return nullptr;
  return &entries_[number - first_];
}

int NumberedLog::listen(std::function<void()> listener) {
  listeners_[++last_listener_] = std::move(listener);
  return last_listener_;
}

void NodeEvents::add(Event event) {
  event.node = node_;
  event.time = now_in_seconds();
  log_.add(json_payload(event.to_json()));
}

std::uint64_t NodeEvents::begin(const std::string& name, Json fields, std::uint64_t parent) {
  Event event;
  event.kind = Event::Kind::kBegin;
  event.id = ++last_id_;
  event.parent = parent;
  event.name = name;
  event.fields = std::move(fields);
  const auto id = event.id;
  add(std::move(event));
  return id;
}

void NodeEvents::end(std::uint64_t id, const std::string& name, bool ok, std::string text, Json fields) {
  Event event;
  event.kind = Event::Kind::kEnd;
  event.id = id;
  event.name = name;
  event.ok = ok;
  event.text = std::move(text);
  event.fields = std::move(fields);
  add(std::move(event));
}

void NodeEvents::message(const std::string& name, std::string text, bool ok, Json fields) {
  Event event;
  event.name = name;
  event.text = std::move(text);
  event.ok = ok;
  event.fields = std::move(fields);
  add(std::move(event));
}

}  // namespace kiln::node
