#include "image/ami.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

#include "aws/ec2.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "image/ami_list.h"
#include "image/ami_upload.h"

namespace kiln::image {

namespace {

std::string partition_name(const aws::Session& session) { return session.partition().name; }

// Runs `work` for each region, those of a failure left out; what one throws becomes its failure. Interrupted goes on up.
class Regions {
 public:
  Regions(std::vector<aws::Session> sessions, AmiResult& result) : sessions_(std::move(sessions)), result_(result) {}
  const std::vector<aws::Session>& sessions() const { return sessions_; }

  void each(const std::function<void(const aws::Session&)>& work) {
    const std::vector<aws::Session> now = sessions_;
    parallel_for(now.size(), kRegionsAtOnce, [&](std::size_t i) { attempt(now[i], work); });
  }
  // False when it failed.
  bool attempt(const aws::Session& session, const std::function<void(const aws::Session&)>& work) {
    try {
      work(session);
      return true;
    } catch (const Interrupted&) {
      throw;
    } catch (const Error& error) {
      fail_region(session.region(), error);
      return false;
    }
  }

 private:
  void fail_region(const std::string& region, const Error& error) {
    const std::lock_guard guard(lock_);
    say(fmt::format("{}: {}", region, error.what()));
    result_.failures.push_back({region, error.what(), error.hint_text()});
    std::erase_if(sessions_, [&](const aws::Session& one) { return one.region() == region; });
  }
  std::mutex lock_;
  std::vector<aws::Session> sessions_;
  AmiResult& result_;
};

const Ami* find_kind(const std::vector<Ami>& amis, const AmiKind& kind) {
  const auto found = std::find_if(amis.begin(), amis.end(), [&](const Ami& ami) { return ami.kind == kind; });
  return found == amis.end() ? nullptr : &*found;
}

// The work on one partition.
class Partition {
 public:
  Partition(const AmiBuild& build, std::vector<aws::Session> sessions, AmiResult& result)
      : build_(build), result_(result), regions_(std::move(sessions), result) {
    if (!regions_.sessions().empty()) first_ = regions_.sessions().front().region();
  }

  void run() {
    if (!has_credentials()) return;
    look();
    if (std::none_of(found_.begin(), found_.end(), [&](const auto& entry) { return can_be_copied(entry.second); }) && !build_.disk.empty())
      make_source();
    regions_.each([&](const aws::Session& session) { finish(session); });
  }

 private:
  bool can_be_copied(const std::vector<Ami>& amis) const {
    const Ami* first = find_kind(amis, build_.kinds.front());
    return first != nullptr && first->state == "available";
  }
  std::vector<Ami>& amis_in(const std::string& region) {
    const std::lock_guard guard(lock_);
    return found_[region];
  }

  // Without them no region can do anything: that is said once.
  bool has_credentials() {
    try {
      regions_.sessions().front().credentials();
      return true;
    } catch (const Interrupted&) {
      throw;
    } catch (const Error& error) {
      say(error.what());
      for (const auto& session : regions_.sessions()) result_.failures.push_back({session.region(), error.what(), error.hint_text()});
      return false;
    }
  }

  void look() {
    regions_.each([&](const aws::Session& session) { amis_in(session.region()) = find_amis(session, kBuildTag, build_.build); });
  }

  // Uploads to the profile's own region, or the first one. Where that fails another is tried: all others depend on it.
  void make_source() {
    constexpr int kAttempts = 3;
    for (int attempt = 0; attempt < kAttempts && !regions_.sessions().empty(); ++attempt) {
      const aws::Session home = regions_.sessions().front();
      if (regions_.attempt(home, [&](const aws::Session& session) { make_first(session); })) return;
    }
  }

  void make_first(const aws::Session& session) {
    const UploadedSnapshot snapshot = ensure_snapshot(session, build_);
    result_.blocks_sent += snapshot.blocks_sent;
    result_.snapshots_made += snapshot.reused ? 0 : 1;
    result_.upload_seconds = std::max(result_.upload_seconds, snapshot.seconds);
    amis_in(session.region()).push_back(register_ami(session, build_, build_.kinds.front(), snapshot.id));
    forget_upload(build_, session.region());
  }

  const Ami* source() const {
    for (const auto& [region, amis] : found_) {
      if (can_be_copied(amis)) return find_kind(amis, build_.kinds.front());
    }
    return nullptr;
  }

  // The AMI of the first kind, and then those that are registered of its snapshot.
  void finish(const aws::Session& session) {
    const std::string region = session.region();
    std::vector<Ami> amis;
    for (const auto& ami : amis_in(region)) {
      if (ami.state == "available") amis.push_back(ami);
    }
    if (find_kind(amis, build_.kinds.front()) == nullptr) amis.push_back(first_in(session, amis));
    const std::string snapshot = find_kind(amis, build_.kinds.front())->snapshot;
    std::vector<AmiKind> missing;
    for (const auto& kind : build_.kinds) {
      if (find_kind(amis, kind) == nullptr) missing.push_back(kind);
    }
    std::vector<Ami> made(missing.size());
    const auto keep = [&](const std::vector<Ami>& more) {
      for (const auto& ami : more) {
        if (!ami.id.empty()) amis.push_back(ami);
      }
      settle(session, amis, snapshot);
    };
    try {
      parallel_for(missing.size(), missing.size(), [&](std::size_t i) {
        if (!is_left_out(session, missing[i])) made[i] = register_ami(session, build_, missing[i], snapshot);
      });
    } catch (const Interrupted&) {
      throw;
    } catch (const Error&) {
      // What was made counts all the same.
      keep(made);
      throw;
    }
    keep(made);
  }

  // Of all regions those without pv-grub have no paravirtual AMI; a region that was named must have one.
  bool is_left_out(const aws::Session& session, const AmiKind& kind) {
    if (kind.virtualization != "paravirtual" || !build_.spec.all_regions || find_pv_kernel(session)) return false;
    say(fmt::format("{} has no pv-grub kernel: no paravirtual AMI is made there", session.region()));
    return true;
  }

  Ami first_in(const aws::Session& session, const std::vector<Ami>& others) {
    // Another kind is there: its snapshot is the build's.
    for (const auto& ami : others) {
      if (!ami.snapshot.empty()) return register_ami(session, build_, build_.kinds.front(), ami.snapshot);
    }
    if (const auto snapshot = take_over_upload(session, build_)) {
      Ami ami = register_ami(session, build_, build_.kinds.front(), *snapshot);
      forget_upload(build_, session.region());
      return ami;
    }
    const Ami* from = source();
    if (from == nullptr) fail("there is nothing to copy to {}: the upload to {} failed", session.region(), first_);
    std::optional<Ami> there;
    if (const Ami* begun = find_kind(amis_in(session.region()), build_.kinds.front())) there = *begun;
    return copy_ami(session, build_, *from, there);
  }

  void settle(const aws::Session& session, const std::vector<Ami>& amis, const std::string& snapshot) {
    bool changed = false;
    for (const auto& ami : amis) changed = settle_ami(session, build_, ami) || changed;
    changed = settle_fast_restore(session, build_, snapshot) || changed;
    const std::lock_guard guard(lock_);
    for (const auto& ami : amis) {
      result_.amis.push_back(ami);
      result_.made += ami.made ? 1 : 0;
      changed = changed || ami.made;
    }
    result_.changed = result_.changed || changed;
  }

  const AmiBuild& build_;
  AmiResult& result_;
  Regions regions_;
  std::string first_;
  std::mutex lock_;
  std::map<std::string, std::vector<Ami>> found_;
};

// The nonce of a build that was begun, or of a new one.
void open_build(AmiBuild& build) {
  const fs::path file = build.build_folder() / "build.json";
  const Json there = Json::parse(read_file_if_there(file).value_or(""), nullptr, false);
  if (there.is_object()) build.nonce = there.value("nonce", "");
  if (!build.nonce.empty()) return;
  build.nonce = random_hex(16);
  make_folder(build.build_folder());
  write_file_atomically(file, Json{{"image", build.image}, {"architecture", build.architecture}, {"nonce", build.nonce}}.dump() + "\n");
}

AmiBuild build_of(const bake::Store& store, const bake::Image& image, const Disk& disk, const AmiWish& wish) {
  const config::AmiSpec& spec = wish.spec;
  AmiBuild build;
  build.image = wish.image.empty() ? image.name : wish.image;
  build.like = wish.like;
  build.digest = image.digest;
  build.build = ami_build_id(disk.key, spec);
  build.architecture = ec2_architecture(image.architecture);
  build.spec = spec;
  build.kinds = ami_kinds(spec, build.architecture);
  build.disk = disk.file;
  build.size_gib = disk.size_bytes >> 30;
  build.folder = store.folder("aws");
  return build;
}

// Who names regions need not have one of their own.
std::string own_region(const aws::Session& session, const std::string& fallback) {
  try {
    return session.region();
  } catch (const Interrupted&) {
    throw;
  } catch (const Error&) {
    return fallback;
  }
}

}  // namespace

std::vector<aws::Session> ami_sessions(const config::AmiSpec& spec) {
  std::vector<aws::Session> sessions;
  if (spec.profiles.empty()) sessions.emplace_back();
  for (const auto& profile : spec.profiles) {
    aws::SessionOptions options;
    options.profile = profile;
    sessions.emplace_back(options);
  }
  if (sessions.size() < 2) return sessions;
  std::map<std::string, std::string> by_partition;
  for (const auto& session : sessions) {
    const auto [other, is_new] = by_partition.emplace(partition_name(session), session.profile());
    if (is_new) continue;
    UsageError error(fmt::format("profiles '{}' and '{}' are both of the partition {}", other->second, session.profile(), other->first));
    error.set_hint("one profile for each partition; its region says of which one it is");
    throw error;
  }
  return sessions;
}

std::vector<aws::Session> ami_regions(const config::AmiSpec& spec, std::vector<AmiFailure>& failures) {
  const auto sessions = ami_sessions(spec);
  std::vector<aws::Session> regions;
  if (spec.all_regions) {
    for (const auto& session : sessions) {
      regions.push_back(session);
      // Without AllRegions it tells those that the account has enabled.
      for (const Json& region : aws::list(aws::Ec2(session).call("DescribeRegions"), "regionInfo")) {
        const std::string name = aws::required_text(region, "regionName");
        if (name != session.region()) regions.push_back(session.for_region(name));
      }
    }
    return regions;
  }
  if (spec.regions.empty()) return sessions;
  for (const auto& name : spec.regions) {
    const std::string& partition = aws::partition_of(name).name;
    const auto session = std::find_if(sessions.begin(), sessions.end(), [&](const auto& one) {
      return aws::partition_of(own_region(one, spec.regions.front())).name == partition;
    });
    if (session == sessions.end()) {
      failures.push_back({name, fmt::format("no profile is of its partition, {}", partition),
                          "name one by --profile, beside the others: one for each partition"});
    } else if (own_region(*session, "") == name) {
      // The profile's own region first: the upload goes there.
      regions.insert(regions.begin(), session->for_region(name));
    } else {
      regions.push_back(session->for_region(name));
    }
  }
  return regions;
}

void spread_amis(const AmiBuild& build, const std::vector<aws::Session>& regions, AmiResult& result) {
  std::map<std::string, std::vector<aws::Session>> partitions;
  for (const auto& session : regions) partitions[partition_name(session)].push_back(session);
  std::vector<std::vector<aws::Session>> list;
  for (const auto& [name, sessions] : partitions) list.push_back(sessions);
  std::vector<AmiResult> results(list.size());
  parallel_for(list.size(), list.size(), [&](std::size_t i) { Partition(build, list[i], results[i]).run(); });
  for (auto& one : results) {
    result.amis.insert(result.amis.end(), one.amis.begin(), one.amis.end());
    result.failures.insert(result.failures.end(), one.failures.begin(), one.failures.end());
    result.blocks_sent += one.blocks_sent;
    result.snapshots_made += one.snapshots_made;
    result.made += one.made;
    result.upload_seconds = std::max(result.upload_seconds, one.upload_seconds);
    result.changed = result.changed || one.changed;
  }
  std::sort(result.amis.begin(), result.amis.end(), [&](const Ami& a, const Ami& b) {
    return std::tie(a.region, a.kind.virtualization, a.kind.boot_mode) < std::tie(b.region, b.kind.virtualization, b.kind.boot_mode);
  });
}

AmiResult make_amis(const bake::Store& store, const bake::Image& image, const Disk& disk, const AmiWish& wish) {
  const config::AmiSpec& spec = wish.spec;
  AmiBuild build = build_of(store, image, disk, wish);
  if (!wish.list.empty()) check_ami_list(wish.list, build.image);
  AmiResult result;
  const auto regions = ami_regions(spec, result.failures);
  for (const auto& failure : result.failures) say(fmt::format("{}: {}", failure.region, failure.why));
  for (const auto& session : regions) encryption_in(spec, session.region());
  result.regions = regions.size() + result.failures.size();
  const FileLock one_maker = store.lock(sha256_hex(fmt::format("ami {} {}", build.image, build.architecture)),
                                        fmt::format("the AMIs of image '{}' for {}", build.image, build.architecture));
  open_build(build);
  spread_amis(build, regions, result);
  if (!wish.list.empty()) update_ami_list(wish.list, build.kinds, result.amis, wish.is_beside_amd64);
  if (!result.failures.empty()) return result;
  // All is there: what earlier builds left half-done has had its use.
  parallel_for(regions.size(), kRegionsAtOnce, [&](std::size_t i) { remove_unfinished(regions[i], build); });
  remove_tree(build.build_folder());
  const auto is_upload = [](const fs::directory_entry& inner) { return inner.is_directory(); };
  for (const auto& other : build_folders(build.folder, build.image, build.architecture)) {
    if (std::none_of(fs::directory_iterator(other), fs::directory_iterator(), is_upload)) remove_tree(other);
  }
  return result;
}

std::string ami_words(const AmiResult& result) {
  return fmt::format("{} AMIs in {} regions, {} of them new, {} blocks sent", result.amis.size(), result.regions, result.made,
                     result.blocks_sent);
}

void throw_ami_failures(const AmiResult& result) {
  if (result.failures.empty()) return;
  std::string regions;
  for (const auto& failure : result.failures) regions += (regions.empty() ? "" : ", ") + failure.region;
  Error error(
      fmt::format("{} of {} regions failed ({}); what the others have is in the list", result.failures.size(), result.regions, regions));
  const std::string& hint = result.failures.front().hint;
  error.set_hint(hint.empty() ? "run it again: only what is missing is made" : hint);
  throw error;
}

}  // namespace kiln::image
