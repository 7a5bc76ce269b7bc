#include "cli/baked.h"

#include <algorithm>

#include "base/files.h"
#include "base/strings.h"
#include "cli/terminal.h"

namespace kiln::cli {

namespace {

Json target_facts(const std::vector<image::TargetOutcome>& made) {
  Json facts = Json::object();
  for (const auto& target : made) {
    facts[target.name] = target.facts;
    facts[target.name]["reused"] = target.reused;
    facts[target.name]["seconds"] = target.seconds;
  }
  return facts;
}

std::string target_words(const std::vector<image::TargetOutcome>& made) {
  std::string words;
  for (const auto& target : made) {
    if (target.name != "rootfs") words += fmt::format("  {}: {}\n", target.name, target.words);
  }
  return words;
}

}  // namespace

Response baked_response(const Baked& baked, const BakedWords& words) {
  Response response;
  Json layers = Json::array();
  std::vector<std::vector<std::string>> rows;
  std::int64_t size_bytes = 0;
  for (const auto& outcome : baked.result.layers) {
    layers.push_back({{"name", outcome.layer.name},
                      {"key", outcome.layer.key},
                      {"reused", outcome.reused},
                      {"why", outcome.why},
                      {"seconds", outcome.seconds},
                      {"size_bytes", outcome.layer.size_bytes}});
    const char* verb = outcome.reused ? "reused" : words.dry_run ? "to build" : "built";
    rows.push_back({outcome.layer.name, verb, outcome.reused ? "" : fmt::format("{:.1f} s", outcome.seconds),
                    human_size(static_cast<std::uintmax_t>(outcome.layer.size_bytes)), outcome.why});
    size_bytes += outcome.layer.size_bytes;
  }
  response.json = {{"image", baked.result.image.name},
                   {"digest", baked.result.image.digest},
                   {"changed", baked.result.changed},
                   {"seconds", baked.seconds},
                   {"layers", layers},
                   {"targets", target_facts(baked.made)}};
  if (words.explain || words.dry_run) response.text = format_table({"layer", "", "time", "size", "why"}, rows);
  if (words.dry_run && !baked.amis.empty()) {
    response.json["ami"] = baked.amis;
    response.text += fmt::format("AMIs: {}\n", baked.amis);
  }
  if (words.dry_run) return response;
  const bool all_there =
      !baked.result.changed && std::all_of(baked.made.begin(), baked.made.end(), [](const auto& target) { return target.reused; });
  response.text += !all_there ? fmt::format("{} baked in {:.1f} s: {} layers, {}\n", baked.name, baked.seconds, rows.size(),
                                            human_size(static_cast<std::uintmax_t>(size_bytes)))
                              : fmt::format("{} is up to date ({:.2f} s)\n", baked.name, baked.seconds);
  response.text += target_words(baked.made);
  if (!baked.lock_file.empty()) {
    response.json["lock"] = baked.lock_file.native();
    response.text += fmt::format("  locked in {}\n", baked.lock_file.native());
  }
  return response;
}

Response baked_response(const std::vector<Baked>& all, const std::vector<image::TargetOutcome>& together, const BakedWords& words) {
  Response response;
  Json each = Json::object();
  bool changed = false;
  double seconds = 0;
  std::vector<std::string> architectures;
  for (const auto& baked : all) {
    architectures.push_back(baked.architecture);
    seconds = std::max(seconds, baked.seconds);
    if (baked.failure) {
      each[baked.architecture] = {{"image", baked.name}, {"error", baked.failure->what()}};
      if (!baked.failure->hint_text().empty()) each[baked.architecture]["hint"] = baked.failure->hint_text();
      response.text += fmt::format("{} failed ({})\n", baked.name, baked.architecture);
      response.exit_code = static_cast<int>(ExitCode::kFailed);
      continue;
    }
    const Response own = baked_response(baked, words);
    each[baked.architecture] = own.json;
    if (words.explain || words.dry_run) response.text += fmt::format("{} ({}):\n", baked.name, baked.architecture);
    response.text += own.text;
    changed = changed || baked.result.changed;
  }
  response.json = {{"image", all.front().name},
                   {"architectures", each},
                   {"changed", changed},
                   {"seconds", seconds},
                   {"targets", target_facts(together)}};
  if (!together.empty()) response.text += fmt::format("{} for {}:\n", all.front().name, join(architectures, ", ")) + target_words(together);
  return response;
}

}  // namespace kiln::cli
