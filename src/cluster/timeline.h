// The timeline: what a launch (or a bake) did when, on which node. Recorded from the event stream, kept with the cluster,
// shown as text in the style spark-ec2's users know, as JSON, or as one HTML page with a Gantt chart.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/activity.h"

namespace kiln::cluster {

struct Step {
  std::string node;  // empty: the launcher
  std::string name;
  double start = 0;  // seconds since the timeline's start
  double end = -1;   // likewise; negative: not ended
  bool ok = true;
  std::string text;
};

struct Timeline {
  std::string title;
  double started = 0;  // seconds since 1970
  double total_seconds = 0;
  std::vector<Step> steps;  // by start

  Json to_json() const;
  static Timeline from_json(const Json& json);
  // One line a finished step, by end:  ">>>   0.4s - master-1: spark.master ready"; the total last.
  std::string to_text() const;
  // A self-contained page (no script or style from elsewhere).
  std::string to_html() const;
};

// A sink that turns the activities of this process and of the nodes into steps.
class TimelineRecorder : public EventSink {
 public:
  explicit TimelineRecorder(std::string title);
  void on_event(const Event& event) override;
  Timeline finish();

 private:
  std::mutex lock_;
  Timeline timeline_;
  std::map<std::pair<std::string, std::uint64_t>, std::size_t> open_;
};

}  // namespace kiln::cluster
