#include "image/targets.h"

#include <algorithm>
#include <chrono>

#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/parallel.h"
#include "base/strings.h"
#include "image/rootfs.h"

namespace kiln::image {

namespace {

using Make = TargetOutcome (*)(const bake::Store& store, const bake::Image& image, const TargetOptions& options);
struct Target {
  const char* name;
  Make make;
};

// The layers as they are: there is nothing to make, only to miss.
TargetOutcome make_rootfs(const bake::Store& store, const bake::Image& image, const TargetOptions&) {
  const auto folders = rootfs_folders(store, image);
  return {.reused = true, .words = fmt::format("{} layers", folders.size()), .facts = {{"layers", folders.size()}}};
}

TargetOutcome make_oci(const bake::Store& store, const bake::Image& image, const TargetOptions& options) {
  rootfs_folders(store, image);
  std::int64_t made_bytes = 0;
  std::size_t made = 0;
  const double started = now_in_seconds();
  const OciImage oci = make_oci_image(store, image, options.compression, options.jobs);
  std::int64_t size_bytes = oci.config.size_bytes + oci.manifest.size_bytes;
  for (const auto& layer : oci.layers) {
    size_bytes += layer.blob.size_bytes;
    const auto written = fs::last_write_time(blob_file(store, layer.blob.digest));
    if (std::chrono::duration<double>(std::chrono::file_clock::to_sys(written).time_since_epoch()).count() < started) continue;
    made_bytes += layer.blob.size_bytes;
    ++made;
  }
  return {.reused = made == 0,
          .words = fmt::format("{} ({}, {} layers, {} of them new)", oci.manifest.digest.substr(0, 19),
                               human_size(static_cast<std::uintmax_t>(size_bytes)), oci.layers.size(), made),
          .facts = {{"digest", oci.manifest.digest},
                    {"size_bytes", size_bytes},
                    {"new_bytes", made_bytes},
                    {"compression", compression_name(options.compression)}}};
}

constexpr Target kTargets[] = {{"rootfs", make_rootfs}, {"oci", make_oci}};

const Target& find_target(const std::string& name) {
  const auto found = std::find_if(std::begin(kTargets), std::end(kTargets), [&](const Target& target) { return name == target.name; });
  if (found != std::end(kTargets)) return *found;
  UsageError error(fmt::format("there is no target '{}'", name));
  const auto near = nearest(name, target_names());
  error.set_hint(near ? fmt::format("did you mean '{}'?", *near) : "there are: " + join(target_names(), ", "));
  throw error;
}

}  // namespace

std::vector<std::string> target_names() {
  std::vector<std::string> names;
  for (const auto& target : kTargets) names.emplace_back(target.name);
  return names;
}

void check_targets(const std::vector<std::string>& names) {
  for (const auto& name : names) find_target(name);
}

std::vector<TargetOutcome> make_targets(const bake::Store& store, const bake::Image& image, const std::vector<std::string>& names,
                                        const TargetOptions& options) {
  check_targets(names);
  TargetOptions effective = options;
  if (effective.jobs == 0) effective.jobs = processor_count();
  // gc takes nothing away meanwhile.
  const FileLock in_use = store.in_use();
  std::vector<TargetOutcome> outcomes(names.size());
  std::vector<GraphTask> tasks;
  for (std::size_t i = 0; i < names.size(); ++i) {
    tasks.push_back({names[i], {}, [&, i] {
                       with_context("making target '" + names[i] + "' of image '" + image.name + "'", [&] {
                         Activity activity("target " + names[i]);
                         const auto start = std::chrono::steady_clock::now();
                         outcomes[i] = find_target(names[i]).make(store, image, effective);
                         outcomes[i].name = names[i];
                         outcomes[i].seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
                       });
                     }});
  }
  run_graph(tasks, tasks.size());
  return outcomes;
}

}  // namespace kiln::image
