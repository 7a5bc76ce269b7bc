#include "cluster/timeline.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/strings.h"

namespace kiln::cluster {

namespace {

// "service spark.master" → "spark.master ready": how the step reads once it has ended.
std::string in_words(const Step& step) {
  std::string words = step.node.empty() ? "" : step.node + ": ";
  const std::string_view name = step.name;
  if (name.starts_with("service ")) {
    words += fmt::format("{} {}", name.substr(8), step.ok ? "ready" : "failed");
  } else if (name.starts_with("node ")) {
    words += step.ok ? "node ready" : "node failed";
  } else {
    words += fmt::format("{}{}", name, step.ok ? "" : " failed");
  }
  return words;
}

double end_of(const Step& step, double total) { return step.end < 0 ? total : step.end; }

}  // namespace

Json Timeline::to_json() const {
  Json list = Json::array();
  for (const auto& step : steps) {
    Json entry = {{"name", step.name}, {"start", step.start}, {"end", step.end}, {"ok", step.ok}};
    if (!step.node.empty()) entry["node"] = step.node;
    if (!step.text.empty()) entry["text"] = step.text;
    list.push_back(std::move(entry));
  }
  return {{"title", title}, {"started", started}, {"total_seconds", total_seconds}, {"steps", list}};
}

Timeline Timeline::from_json(const Json& json) {
  Timeline timeline;
  timeline.title = json.value("title", "");
  timeline.started = json.value("started", 0.0);
  timeline.total_seconds = json.value("total_seconds", 0.0);
  for (const auto& entry : json.value("steps", Json::array())) {
    timeline.steps.push_back({entry.value("node", ""), entry.value("name", ""), entry.value("start", 0.0), entry.value("end", -1.0),
                              entry.value("ok", true), entry.value("text", "")});
  }
  return timeline;
}

std::string Timeline::to_text() const {
  std::vector<Step> ended;
  std::copy_if(steps.begin(), steps.end(), std::back_inserter(ended), [](const Step& step) { return step.end >= 0; });
  std::stable_sort(ended.begin(), ended.end(), [](const Step& a, const Step& b) { return a.end < b.end; });
  std::string text;
  for (const auto& step : ended) text += fmt::format(">>> {:5.1f}s - {}\n", step.end, in_words(step));
  return text + fmt::format(">>> {:5.1f}s - {} (total)\n", total_seconds, title);
}

std::string Timeline::to_html() const {
  const double total = std::max(total_seconds, 0.001);
  // Gridlines at a round distance that gives four to ten of them.
  double grid = 0.1;
  for (const double factor : {2.0, 2.5, 2.0, 2.0, 2.5, 2.0, 2.0, 2.5, 2.0, 2.0, 2.5, 2.0}) {
    if (total / grid <= 10) break;
    grid *= factor;
  }
  std::vector<std::string> lanes;  // the launcher first, then nodes as they appear
  for (const auto& step : steps) {
    if (std::find(lanes.begin(), lanes.end(), step.node) == lanes.end()) lanes.push_back(step.node);
  }
  std::sort(lanes.begin(), lanes.end());

  std::string rows;
  for (const auto& lane : lanes) {
    rows += fmt::format("<tr class=\"lane\"><th colspan=\"2\">{}</th></tr>\n", lane.empty() ? "launcher" : escape_xml(lane));
    for (const auto& step : steps) {
      if (step.node != lane) continue;
      const double end = end_of(step, total_seconds);
      rows += fmt::format(
          "<tr><td class=\"name\">{}</td><td class=\"bars\"><div class=\"bar {}\" style=\"left:{:.2f}%;width:{:.2f}%\" "
          "title=\"{}: {:.2f} s to {:.2f} s{}\"></div><span class=\"time {}\" style=\"{}:{:.2f}%\">{:.2f} s</span></td></tr>\n",
          escape_xml(step.name), step.ok ? "ok" : "failed", 100 * step.start / total, 100 * (end - step.start) / total,
          escape_xml(step.name), step.start, end, step.text.empty() ? "" : "\n" + escape_xml(step.text),
          // The figure stands behind its bar, or inside it where it would leave the page.
          end / total > 0.9 ? "inside" : "behind", end / total > 0.9 ? "right" : "left",
          end / total > 0.9 ? 100 - 100 * end / total : 100 * end / total, end - step.start);
    }
  }
  std::string ticks;
  for (double at = 0; at <= total; at += grid) {
    ticks += fmt::format("<span class=\"tick\" style=\"left:{:.2f}%\">{:g} s</span>", 100 * at / total, std::round(at * 100) / 100);
  }
  return fmt::format(R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{0} – kiln timeline</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ --ink: #1c2430; --soft: #667085; --line: #e3e7ee; --paper: #fff; --ok: #2f7ed8; --bad: #c9372c; --lane: #f4f6fa; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e6e9ef; --soft: #98a2b3; --line: #2c3441; --paper: #151a21; --ok: #5aa2f0; --bad: #ef6b61; --lane: #1d242e; }} }}
body {{ font: 14px/1.4 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; margin: 0 0 .2rem; }} p {{ color: var(--soft); margin: 0 0 1.2rem; }}
table {{ border-collapse: collapse; width: 100%; table-layout: fixed; }}
.lane th {{ text-align: left; background: var(--lane); padding: .3rem .5rem; }}
.name {{ width: 16rem; padding: .15rem .5rem; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }}
.axis .name {{ color: var(--soft); }}
td.bars {{ position: relative; border-left: 1px solid var(--line); padding: 0; height: 1.5rem;
  background: repeating-linear-gradient(90deg, transparent 0 calc({3:.3f}% - 1px), var(--line) calc({3:.3f}% - 1px) {3:.3f}%); }}
.bar {{ position: absolute; top: .3rem; height: .9rem; min-width: 2px; border-radius: 3px; background: var(--ok); }}
.bar.failed {{ background: var(--bad); }}
.time {{ position: absolute; top: .15rem; padding: 0 .35rem; font-size: 12px; color: var(--soft); white-space: nowrap; }}
.time.inside {{ color: #fff; }}
.tick {{ position: absolute; font-size: 12px; color: var(--soft); transform: translateX(-50%); white-space: nowrap; }}
</style></head><body>
<h1>{0}</h1><p>{1:.2f} s in all, {4} steps</p>
<table><colgroup><col style="width:16rem"><col></colgroup>
<tr class="axis"><td class="name">time since the start</td><td style="position:relative;height:1.5rem">{5}</td></tr>
{2}</table></body></html>
)",
                     escape_xml(title), total_seconds, rows, 100 * grid / total, steps.size(), ticks);
}

TimelineRecorder::TimelineRecorder(std::string title) {
  timeline_.title = std::move(title);
  timeline_.started = now_in_seconds();
}

void TimelineRecorder::on_event(const Event& event) {
  const std::lock_guard guard(lock_);
  const auto key = std::pair(event.node, event.id);
  const double at = std::max(0.0, event.time - timeline_.started);
  if (event.kind == Event::Kind::kBegin) {
    open_[key] = timeline_.steps.size();
    timeline_.steps.push_back({event.node, event.name, at, -1, true, {}});
  } else if (event.kind == Event::Kind::kEnd) {
    const auto found = open_.find(key);
    if (found == open_.end()) return;
    Step& step = timeline_.steps[found->second];
    step.end = at;
    step.ok = event.ok;
    step.text = event.text;
    open_.erase(found);
  }
}

Timeline TimelineRecorder::finish() {
  const std::lock_guard guard(lock_);
  timeline_.total_seconds = now_in_seconds() - timeline_.started;
  std::stable_sort(timeline_.steps.begin(), timeline_.steps.end(), [](const Step& a, const Step& b) { return a.start < b.start; });
  open_.clear();
  return timeline_;
}

}  // namespace kiln::cluster
