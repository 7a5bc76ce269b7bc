#include "image/ami_manage.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "aws/ec2.h"
#include "aws/wait.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "base/strings.h"
#include "image/ami.h"
#include "image/ami_list.h"
#include "image/ami_upload.h"

namespace kiln::image {

namespace {

// A snapshot is "in use" for some seconds after the last AMI of it is gone.
constexpr std::chrono::minutes kReleaseLimit{2};

RemoteImage remote_of(const Ami& ami) {
  const std::string kind = kind_words(ami.kind) + (ami.architecture == "x86_64" ? "" : ", " + ami.architecture);
  return {ami.image, ami.region, ami.id, kind, ami.digest, ami.build, ami.state, ami.created, ami.to_json()};
}

// Those that instances stand on. A stopped one can start without its AMI, but a cluster could not be enlarged.
std::set<std::string> used_amis(const aws::Ec2& ec2, const std::vector<Ami>& amis) {
  std::set<std::string> used;
  // A filter takes 200 values.
  constexpr std::size_t kMost = 200;
  for (std::size_t start = 0; start < amis.size(); start += kMost) {
    std::vector<std::string> ids;
    for (std::size_t i = start; i < std::min(amis.size(), start + kMost); ++i) ids.push_back(amis[i].id);
    Json params = aws::filters({{"image-id", ids}, {"instance-state-name", {"pending", "running", "stopping", "stopped"}}});
    params["MaxResults"] = 1000;
    for (const Json& reservation : ec2.call_all("DescribeInstances", params, "reservationSet")) {
      for (const Json& instance : aws::list(reservation, "instancesSet")) used.insert(aws::text(instance, "imageId"));
    }
  }
  return used;
}

class Amis : public RemoteImages {
 public:
  explicit Amis(RemoteOptions options) : options_(std::move(options)) {}

  std::vector<RemoteImage> list(const std::string& name, RemoteChange& failures) const override {
    std::vector<RemoteImage> images;
    std::mutex lock;
    in_regions(failures, [&](const aws::Session& session) {
      const auto amis = amis_of(session, name);
      const std::lock_guard guard(lock);
      for (const auto& ami : amis) images.push_back(remote_of(ami));
    });
    sort(images);
    return images;
  }

  RemoteChange remove(const std::string& name) const override {
    if (name.empty()) fail_usage("which image?");
    RemoteChange change;
    std::map<std::string, std::vector<Ami>> found;
    std::vector<std::string> used;
    std::mutex lock;
    const auto sessions = in_regions(change, [&](const aws::Session& session) {
      const auto amis = amis_of(session, name);
      const auto in_use = options_.force ? std::set<std::string>() : used_amis(aws::Ec2(session), amis);
      const std::lock_guard guard(lock);
      found[session.region()] = amis;
      for (const auto& id : in_use) used.push_back(fmt::format("{} in {}", id, session.region()));
    });
    if (!used.empty()) {
      Error error(fmt::format("image '{}' is used by instances: {}", name, join(used, ", ")));
      error.set_hint("terminate them first, or add --force: they go on, but cannot be made more");
      throw error;
    }
    remove_in(sessions, name, found, change);
    if (change.removed.empty() && change.removed_snapshots.empty() && change.failures.empty())
      fail_usage("there is no image '{}' on aws", name);
    if (change.failures.empty() && !options_.dry_run && options_.regions.empty()) forget_builds(name);
    return finish(std::move(change));
  }

  RemoteChange prune(const std::string& name, std::size_t keep) const override {
    RemoteChange change;
    std::map<std::string, std::vector<Ami>> found;
    std::mutex lock;
    const auto sessions = in_regions(change, [&](const aws::Session& session) {
      const auto old = old_ones(amis_of(session, name), keep);
      const auto used = used_amis(aws::Ec2(session), old);
      const std::lock_guard guard(lock);
      for (const auto& ami : old) {
        if (used.count(ami.id) != 0) {
          change.kept.push_back(remote_of(ami));
        } else {
          found[session.region()].push_back(ami);
        }
      }
    });
    remove_in(sessions, "", found, change);
    return finish(std::move(change));
  }

  RemoteChange copy(const std::string& name) const override;

 private:
  std::vector<aws::Session> sessions(RemoteChange& change) const {
    config::AmiSpec spec;
    spec.profiles = options_.profiles;
    spec.all_regions = true;
    if (!options_.regions.empty()) config::set_regions(spec, options_.regions, "--regions");
    std::vector<AmiFailure> failures;
    auto regions = ami_regions(spec, failures);
    for (const auto& failure : failures) change.failures.push_back(failure.region + ": " + failure.why);
    return regions;
  }

  std::vector<aws::Session> in_regions(RemoteChange& change, const std::function<void(const aws::Session&)>& work) const {
    auto regions = sessions(change);
    each(regions, change, work);
    return regions;
  }

  static void each(const std::vector<aws::Session>& regions, RemoteChange& change, const std::function<void(const aws::Session&)>& work) {
    std::mutex lock;
    parallel_for(regions.size(), kRegionsAtOnce, [&](std::size_t i) {
      try {
        work(regions[i]);
      } catch (const Interrupted&) {
        throw;
      } catch (const Error& error) {
        const std::lock_guard guard(lock);
        change.failures.push_back(fmt::format("{}: {}", regions[i].region(), error.what()));
      }
    });
  }

  static std::vector<Ami> amis_of(const aws::Session& session, const std::string& name) {
    return find_amis(session, kImageTag, name.empty() ? "*" : name);
  }

  // Of each image and architecture all but the newest `keep` builds.
  static std::vector<Ami> old_ones(const std::vector<Ami>& amis, std::size_t keep) {
    std::map<std::pair<std::string, std::string>, std::map<std::string, std::string>> builds;  // → build → newest date
    for (const auto& ami : amis) {
      std::string& newest = builds[{ami.image, ami.architecture}][ami.build];
      newest = std::max(newest, ami.created);
    }
    std::set<std::string> kept;
    for (const auto& [image, dates] : builds) {
      std::vector<std::pair<std::string, std::string>> order;
      for (const auto& [build, date] : dates) order.emplace_back(date, build);
      std::sort(order.rbegin(), order.rend());
      for (std::size_t i = 0; i < std::min(keep, order.size()); ++i) kept.insert(order[i].second);
    }
    std::vector<Ami> old;
    for (const auto& ami : amis) {
      if (kept.count(ami.build) == 0) old.push_back(ami);
    }
    return old;
  }

  // `name`: also its snapshots that have no AMI (uploads that were never finished); empty: only those of the AMIs.
  void remove_in(const std::vector<aws::Session>& regions, const std::string& name, const std::map<std::string, std::vector<Ami>>& found,
                 RemoteChange& change) const {
    std::mutex lock;
    each(regions, change, [&](const aws::Session& session) {
      const auto amis = found.find(session.region());
      if (amis == found.end()) return;
      remove_amis(session, name, amis->second, change, lock);
    });
    if (!options_.list.empty() && !options_.dry_run) {
      std::vector<std::string> ids;
      for (const auto& image : change.removed) ids.push_back(image.id);
      if (!ids.empty()) remove_from_ami_list(options_.list, ids);
    }
  }

  void remove_amis(const aws::Session& session, const std::string& name, const std::vector<Ami>& amis, RemoteChange& change,
                   std::mutex& lock) const {
    const aws::Ec2 ec2(session);
    std::set<std::string> snapshots;
    for (const auto& ami : amis) {
      if (!ami.snapshot.empty()) snapshots.insert(ami.snapshot);
    }
    const std::set<std::string> own = own_snapshots(ec2, name, snapshots);
    for (const auto& ami : amis) {
      try {
        if (!options_.dry_run) ec2.call("DeregisterImage", Json::object({{"ImageId", ami.id}}), {aws::Repeat::kAlways});
      } catch (const aws::ApiError& error) {
        if (!is_gone(error)) throw;
      }
      const std::lock_guard guard(lock);
      change.removed.push_back(remote_of(ami));
    }
    for (const auto& id : own) {
      if (!remove_snapshot(session, ec2, id, amis)) continue;
      const std::lock_guard guard(lock);
      change.removed_snapshots.push_back(id);
    }
  }

  // Of the AMIs' snapshots those that carry kiln's tag, and all of an image.
  static std::set<std::string> own_snapshots(const aws::Ec2& ec2, const std::string& name, const std::set<std::string>& of_amis) {
    Json params = name.empty() ? aws::filters({{"tag-key", {kImageTag}}}) : aws::filters({{std::string("tag:") + kImageTag, {name}}});
    params["Owner"] = Json::array({"self"});
    params["MaxResults"] = 1000;
    std::set<std::string> own;
    for (const Json& snapshot : ec2.call_all("DescribeSnapshots", params, "snapshotSet")) {
      const std::string id = aws::text(snapshot, "snapshotId");
      if (!name.empty() || of_amis.count(id) != 0) own.insert(id);
    }
    return own;
  }

  // What was begun of it from this store is removed, too.
  void forget_builds(const std::string& name) const {
    for (const auto& folder : build_folders(options_.home / "aws", name)) remove_tree(folder);
  }

  static bool is_gone(const aws::ApiError& error) { return error.is_not_found() || error.code() == "InvalidAMIID.Unavailable"; }

  // False when AMIs that are not removed here stand on it: it stays.
  bool remove_snapshot(const aws::Session& session, const aws::Ec2& ec2, const std::string& id, const std::vector<Ami>& amis) const {
    Json params = aws::filters({{"block-device-mapping.snapshot-id", {id}}});
    params["Owner"] = Json::array({"self"});
    const auto is_ours = [&](const Json& image) {
      return std::any_of(amis.begin(), amis.end(), [&](const Ami& ami) { return ami.id == aws::text(image, "imageId"); });
    };
    const Json answer = ec2.call("DescribeImages", params);
    for (const Json& image : aws::list(answer, "imagesSet")) {
      if (!is_ours(image)) return false;
    }
    if (options_.dry_run) return true;
    aws::wait_until(session.surroundings(), fmt::format("snapshot '{}' to be released", id), kReleaseLimit, [&] {
      try {
        ec2.call("DeleteSnapshot", Json::object({{"SnapshotId", id}}), {aws::Repeat::kAlways});
      } catch (const aws::ApiError& error) {
        if (error.code() == "InvalidSnapshot.InUse") return false;
        if (!is_gone(error)) throw;
      }
      return true;
    });
    std::error_code ignored;
    fs::remove(options_.home / "aws/blocks" / id, ignored);
    return true;
  }

  static void sort(std::vector<RemoteImage>& images) {
    std::sort(images.begin(), images.end(), [](const RemoteImage& a, const RemoteImage& b) {
      return std::tie(a.name, a.region, a.created, a.kind) < std::tie(b.name, b.region, b.created, b.kind);
    });
  }

  static RemoteChange finish(RemoteChange change) {
    for (auto* images : {&change.removed, &change.made, &change.kept}) sort(*images);
    std::sort(change.removed_snapshots.begin(), change.removed_snapshots.end());
    std::sort(change.failures.begin(), change.failures.end());
    return change;
  }

  RemoteOptions options_;
};

// What a build that is there was made as.
AmiBuild build_like(const Ami& ami, const RemoteOptions& options) {
  AmiBuild build;
  build.image = ami.image;
  build.digest = ami.digest;
  build.build = ami.build;
  build.architecture = ami.architecture;
  for (const auto& [key, value] : ami.tags) {
    if (!key.starts_with("kiln:") && !key.starts_with("aws:")) build.spec.tags[key] = value;
  }
  build.spec.encrypted = ami.encrypted;
  build.folder = options.home / "aws";
  build.nonce = random_hex(16);
  return build;
}

// The newest build of each architecture is copied, by the same way as after an upload (ami.h).
RemoteChange Amis::copy(const std::string& name) const {
  RemoteChange change;
  RemoteOptions everywhere = options_;
  everywhere.regions.clear();
  std::vector<Ami> known;
  std::mutex lock;
  Amis(everywhere).in_regions(change, [&](const aws::Session& session) {
    auto amis = amis_of(session, name);
    const std::lock_guard guard(lock);
    known.insert(known.end(), amis.begin(), amis.end());
  });
  std::map<std::string, const Ami*> newest;  // by architecture
  for (const auto& ami : known) {
    const Ami*& best = newest[ami.architecture];
    if (best == nullptr || best->created < ami.created) best = &ami;
  }
  if (newest.empty()) fail_usage("there is no image '{}' on aws", name);
  for (const auto& [architecture, ami] : newest) {
    AmiBuild build = build_like(*ami, options_);
    std::set<std::string> there;
    for (const auto& one : known) {
      if (one.build != build.build) continue;
      there.insert(one.region);
      if (std::find(build.kinds.begin(), build.kinds.end(), one.kind) == build.kinds.end()) build.kinds.push_back(one.kind);
    }
    std::stable_sort(build.kinds.begin(), build.kinds.end(),
                     [](const AmiKind& a, const AmiKind& b) { return (a.virtualization == "hvm") > (b.virtualization == "hvm"); });
    auto regions = sessions(change);
    build.spec.all_regions = options_.regions.empty();
    RemoteOptions sources = options_;
    sources.regions.assign(there.begin(), there.end());
    for (const auto& session : Amis(sources).sessions(change)) {
      if (std::none_of(regions.begin(), regions.end(), [&](const auto& one) { return one.region() == session.region(); }))
        regions.push_back(session);
    }
    AmiResult result;
    spread_amis(build, regions, result);
    for (const auto& one : result.amis) (one.made ? change.made : change.kept).push_back(remote_of(one));
    for (const auto& failure : result.failures) change.failures.push_back(failure.region + ": " + failure.why);
    if (!options_.list.empty()) update_ami_list(options_.list, build.kinds, result.amis);
  }
  return finish(std::move(change));
}

}  // namespace

std::unique_ptr<RemoteImages> open_amis(const RemoteOptions& options) { return std::make_unique<Amis>(options); }

}  // namespace kiln::image
