#include "image/targets.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <mutex>

#include "bake/steps.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/parallel.h"
#include "base/strings.h"
#include "image/disk.h"
#include "image/gce.h"
#include "image/push.h"
#include "image/rootfs.h"

namespace kiln::image {

namespace {

using Make = TargetOutcome (*)(bake::Store& store, const bake::Image& image, const TargetOptions& options);
struct Target {
  const char* name;
  Make make;
  std::vector<Program> programs = {};
  const char* after = "";  // the target that it is made of, where that is asked for too
  const char* adds = "";   // the module that it adds to an image without it
};

// The layers as they are: there is nothing to make, only to miss.
TargetOutcome make_rootfs(bake::Store& store, const bake::Image& image, const TargetOptions&) {
  const auto folders = rootfs_folders(store, image);
  return {.reused = true, .words = fmt::format("{} layers", folders.size()), .facts = {{"layers", folders.size()}}};
}

TargetOutcome make_oci(bake::Store& store, const bake::Image& image, const TargetOptions& options) {
  rootfs_folders(store, image);
  std::int64_t made_bytes = 0;
  std::size_t made = 0;
  const double started = options.started != 0 ? options.started : now_in_seconds();
  if (options.early != nullptr) options.early->wait_for_layers();
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

TargetOutcome push_all(bake::Store& store, const std::vector<OciImage>& images, const TargetOptions& options) {
  const PushResult pushed = push_image(store, images, *options.push_to, options.registry);
  return {.reused = pushed.sent == 0,
          .words = fmt::format("{} is {}: {} blobs sent ({}), {} were there", options.push_to->text(), pushed.digest.substr(0, 19),
                               pushed.sent, human_size(static_cast<std::uintmax_t>(pushed.sent_bytes)), pushed.present),
          .facts = {{"reference", options.push_to->text()},
                    {"digest", pushed.digest},
                    {"blobs_sent", pushed.sent},
                    {"blobs_present", pushed.present},
                    {"bytes_sent", pushed.sent_bytes}}};
}

TargetOutcome push_oci(bake::Store& store, const bake::Image& image, const TargetOptions& options) {
  return push_all(store, {make_oci_image(store, image, options.compression, options.jobs)}, options);
}

// A target that is made, or what is done with one.
struct Job {
  std::string name;
  std::string what;
  Make make;
  std::vector<std::size_t> after;  // indices of jobs
};

// A full disk is said with its place and what to do about it, by every target.
TargetOutcome make_target(const Job& job, bake::Store& store, const bake::Image& image, const TargetOptions& options) {
  try {
    return job.make(store, image, options);
  } catch (Error& error) {
    if (error.message().find(errno_text(ENOSPC)) != std::string::npos) {
      error.add_context(fmt::format("writing to the store in '{}'", store.home().native()));
      if (error.hint_text().empty()) error.set_hint(bake::kFullDiskHint);
    }
    throw;
  }
}

TargetOutcome run_job(const Job& job, bake::Store& store, const bake::Image& image, const TargetOptions& options) {
  return with_context(fmt::format("making {} of image '{}'", job.what, image.name), [&] {
    Activity activity(job.what);
    const auto start = std::chrono::steady_clock::now();
    TargetOutcome outcome = make_target(job, store, image, options);
    outcome.name = job.name;
    outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return outcome;
  });
}

std::int64_t bytes_on_disk(const fs::path& file) {
  struct stat status {};
  return ::stat(file.c_str(), &status) == 0 ? static_cast<std::int64_t>(status.st_blocks) * 512 : 0;
}

std::map<std::string, bake::Image> added_to(const bake::Image& image, const Disk& disk) {
  if (disk.machine.digest == image.digest) return {};
  return {{kMachineModule, disk.machine}};
}

Disk make_early_disk(bake::Store& store, const bake::Image& image, const TargetOptions& options) {
  if (options.early != nullptr) options.early->wait_for_machine();
  return make_disk(store, image, options.bake);
}

TargetOutcome make_disk_target(bake::Store& store, const bake::Image& image, const TargetOptions& options) {
  const Disk disk = make_early_disk(store, image, options);
  const std::int64_t used_bytes = bytes_on_disk(disk.file);
  return {.reused = disk.reused,
          .words = fmt::format("{} ({}, {} of it used)", disk.file.native(), human_size(static_cast<std::uintmax_t>(disk.size_bytes)),
                               human_size(static_cast<std::uintmax_t>(used_bytes))),
          .facts = {{"file", disk.file.native()}, {"size_bytes", disk.size_bytes}, {"used_bytes", used_bytes}},
          .added = added_to(image, disk)};
}

TargetOutcome make_gce_target(bake::Store& store, const bake::Image& image, const TargetOptions& options) {
  const Disk disk = make_early_disk(store, image, options);
  const GceArchive archive = make_gce_archive(store, disk, image);
  return {.reused = archive.reused,
          .words = fmt::format("{} ({})", archive.file.native(), human_size(static_cast<std::uintmax_t>(archive.size_bytes))),
          .facts = {{"file", archive.file.native()}, {"size_bytes", archive.size_bytes}},
          .added = added_to(image, disk)};
}

TargetOutcome make_ami_target(bake::Store& store, const bake::Image& image, const TargetOptions& options) {
  const Disk disk = make_early_disk(store, image, options);
  const AmiResult result = make_amis(store, image, disk, options.ami);
  throw_ami_failures(result);
  Json amis = Json::array();
  for (const auto& ami : result.amis) amis.push_back(ami.to_json());
  return {.reused = !result.changed,
          .words = ami_words(result) + (options.ami.list.empty() ? "" : "; " + options.ami.list.native()),
          .facts = {{"amis", amis},
                    {"new", result.made},
                    {"blocks_sent", result.blocks_sent},
                    {"upload_seconds", result.upload_seconds},
                    {"list", options.ami.list.native()}},
          .added = added_to(image, disk)};
}

const std::vector<Target>& targets() {
  static const std::vector<Target> kTargets = {{"rootfs", make_rootfs},
                                               {"oci", make_oci},
                                               {"disk", make_disk_target, disk_programs(), "", kMachineModule},
                                               {"ami", make_ami_target, disk_programs(), "disk", kMachineModule},
                                               {"gce", make_gce_target, gce_programs(), "disk", kMachineModule}};
  return kTargets;
}

const Target& find_target(const std::string& name) {
  const auto found = std::find_if(targets().begin(), targets().end(), [&](const Target& target) { return name == target.name; });
  if (found != targets().end()) return *found;
  UsageError error(fmt::format("there is no target '{}'", name));
  const auto near = nearest(name, target_names());
  error.set_hint(near ? fmt::format("did you mean '{}'?", *near) : "there are: " + join(target_names(), ", "));
  throw error;
}

}  // namespace

std::vector<std::string> target_names() {
  std::vector<std::string> names;
  for (const auto& target : targets()) names.emplace_back(target.name);
  return names;
}

std::vector<TargetOutcome> combine_targets(bake::Store& store, const std::vector<bake::Image>& images,
                                           const std::vector<std::string>& names, const TargetOptions& options) {
  if (std::find(names.begin(), names.end(), "oci") == names.end()) return {};
  const FileLock in_use = store.in_use();
  std::vector<OciImage> made;
  std::vector<std::string> architectures;
  for (const auto& image : images) {
    made.push_back(make_oci_image(store, image, options.compression, options.jobs != 0 ? options.jobs : processor_count()));
    architectures.push_back(image.architecture);
  }
  const OciIndex index = make_oci_index(store, made);
  std::vector<TargetOutcome> outcomes;
  outcomes.push_back({.name = "oci",
                      .reused = true,
                      .words = fmt::format("{} (an index of {})", index.index.digest.substr(0, 19), join(architectures, " and ")),
                      .facts = {{"digest", index.index.digest}, {"architectures", architectures}}});
  if (!options.push_to) return outcomes;
  const std::string what = "push to " + options.push_to->text();
  outcomes.push_back(with_context("making " + what, [&] {
    Activity activity(what);
    const double start = now_in_seconds();
    TargetOutcome pushed = push_all(store, made, options);
    pushed.name = "push";
    pushed.seconds = now_in_seconds() - start;
    return pushed;
  }));
  return outcomes;
}

EarlyWork::Wanted early_work_for(const std::vector<std::string>& names) {
  EarlyWork::Wanted wanted;
  for (const auto& target : targets()) {
    if (std::find(names.begin(), names.end(), target.name) == names.end()) continue;
    wanted.layers = wanted.layers || target.make == make_oci;
    wanted.machine = wanted.machine || target.adds == std::string(kMachineModule);
  }
  return wanted;
}

void check_targets(const std::vector<std::string>& names, const bake::Lock* lock) {
  for (const auto& name : names) {
    const std::string adds = find_target(name).adds;
    if (lock != nullptr && !adds.empty() && lock->modules.count(adds) == 0) bake::lock_of_addition(*lock, adds);
  }
  for (const auto& name : names) require_programs(find_target(name).programs, "target '" + name + "'");
}

std::vector<TargetOutcome> make_targets(bake::Store& store, const bake::Image& image, const std::vector<std::string>& names,
                                        const TargetOptions& options) {
  check_targets(names);
  TargetOptions effective = options;
  if (effective.jobs == 0) effective.jobs = processor_count();
  // gc takes nothing away meanwhile.
  const FileLock in_use = store.in_use();
  std::vector<Job> jobs;
  for (const auto& name : names) {
    const Target& target = find_target(name);
    Job job{name, "target " + name + (options.label.empty() ? "" : " (" + options.label + ")"), target.make, {}};
    if (const auto below = std::find(names.begin(), names.end(), target.after); below != names.end())
      job.after.push_back(static_cast<std::size_t>(below - names.begin()));
    jobs.push_back(std::move(job));
  }
  if (options.push_to) {
    const auto oci = std::find(names.begin(), names.end(), "oci");
    if (oci == names.end()) fail_usage("only the target 'oci' can be pushed, and it was not asked for");
    jobs.push_back({"push", "push to " + options.push_to->text(), push_oci, {static_cast<std::size_t>(oci - names.begin())}});
  }
  std::vector<TargetOutcome> outcomes(jobs.size());
  std::vector<GraphTask> tasks;
  std::mutex lock;
  std::size_t failures = 0;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const auto work = [&, i] {
      try {
        outcomes[i] = run_job(jobs[i], store, image, effective);
      } catch (const Interrupted&) {
        throw;
      } catch (const Error& error) {
        const std::lock_guard guard(lock);
        if (failures++ > 0) say(error.what());
        throw;
      }
    };
    tasks.push_back({jobs[i].name, jobs[i].after, work});
  }
  run_graph(tasks, tasks.size());
  return outcomes;
}

}  // namespace kiln::image
