#include "image/ami_upload.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <semaphore>
#include <set>

#include "aws/ebs.h"
#include "aws/ec2.h"
#include "aws/wait.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "image/ami_blocks.h"

namespace kiln::image {

namespace {

// Blocks on their way at the same time. EBS answers a block in some 50 ms, from afar 200; an account may send 1,000 blocks a second (EBS
// quotas). 64 make 64 / 0.06 s = 1,000 a second. Each has a buffer of half a MiB: 32 MiB in all.
constexpr std::size_t kSenders = 64;
// EBS gives up a snapshot into which nothing was written for so long. A working day's lunch, not a night: what is never finished costs.
constexpr std::chrono::minutes kSnapshotTimeout{240};
// Sealing takes seconds to minutes, with what was sent; a snapshot of hundreds of GiB longer.
constexpr std::chrono::hours kSealLimit{2};

struct Journal {
  std::string nonce, parent, snapshot;
};

fs::path upload_folder(const AmiBuild& build, const std::string& region) { return build.build_folder() / region; }
fs::path journal_file(const AmiBuild& build, const std::string& region) { return upload_folder(build, region) / "upload.json"; }
fs::path log_file(const AmiBuild& build, const std::string& region) { return upload_folder(build, region) / "done"; }
fs::path list_file(const AmiBuild& build, const std::string& snapshot) { return build.folder / "blocks" / snapshot; }

Journal read_journal(const AmiBuild& build, const std::string& region) {
  const Json json = Json::parse(read_file_if_there(journal_file(build, region)).value_or(""), nullptr, false);
  if (!json.is_object()) return {};
  return {json.value("nonce", ""), json.value("parent", ""), json.value("snapshot", "")};
}

void write_journal(const AmiBuild& build, const std::string& region, const Journal& journal) {
  make_folder(upload_folder(build, region));
  const Json json = {{"nonce", journal.nonce}, {"parent", journal.parent}, {"snapshot", journal.snapshot}};
  write_file_atomically(journal_file(build, region), json.dump() + "\n");
}

std::vector<Json> find_snapshots(const aws::Ec2& ec2, const std::string& tag, const std::string& value) {
  Json params = aws::filters({{std::string("tag:") + tag, {value}}});
  params["Owner"] = Json::array({"self"});
  params["MaxResults"] = 1000;
  return ec2.call_all("DescribeSnapshots", params, "snapshotSet");
}

// How fast blocks may go: when AWS says that it is too much, half as many at a time; after a while without that, one more.
class Gate {
 public:
  void enter() {
    std::unique_lock guard(lock_);
    changed_.wait(guard, [&] { return running_ < limit_; });
    ++running_;
  }
  void leave(bool throttled) {
    const std::lock_guard guard(lock_);
    --running_;
    if (throttled) {
      limit_ = std::max<std::size_t>(1, limit_ / 2);
      good_ = 0;
    } else if (++good_ >= limit_ && limit_ < kSenders) {
      ++limit_;
      good_ = 0;
    }
    changed_.notify_all();
  }

 private:
  std::mutex lock_;
  std::condition_variable changed_;
  std::size_t limit_ = kSenders, running_ = 0, good_ = 0;
};

// Sends one snapshot's blocks.
class Sender {
 public:
  Sender(const aws::Session& session, const AmiBuild& build, const std::string& snapshot, const BlockList& parent, const BlockList& done,
         BlockLog& log)
      : surroundings_(session.surroundings()),
        ebs_(session),
        disk_(build.disk),
        snapshot_(snapshot),
        parent_(parent),
        done_(done),
        log_(log) {}

  // All blocks that the snapshot must have and its parent has not. Tells how far it is, in bytes of the disk looked at.
  void run(Activity& activity) {
    std::set<BlockIndex> wanted;
    for (const BlockIndex index : disk_.outside_holes()) wanted.insert(index);
    for (const auto& [index, digest] : parent_) wanted.insert(index);
    for (const auto& [index, digest] : done_) wanted.insert(index);
    order_.assign(wanted.begin(), wanted.end());
    const std::size_t senders = std::min(kSenders, order_.size());
    parallel_for(senders, senders, [&](std::size_t) { send_blocks(activity); });
  }

  const BlockList& put() const { return put_; }    // what was sent, now or before
  const BlockList& held() const { return held_; }  // what the snapshot holds with its parent
  std::int64_t sent_now() const { return sent_now_; }

 private:
  void send_blocks(Activity& activity) {
    std::string block(aws::kEbsBlockBytes, '\0');
    try {
      for (std::size_t at = next_++; at < order_.size() && !stop_; at = next_++) {
        send_block(order_[at], block);
        tell(activity, at + 1);
      }
    } catch (...) {
      stop_ = true;
      throw;
    }
  }

  // The block's digest; empty for one that is all zero where there was none before. No more threads read and hash than there are
  // processors: the others wait for EBS, and what was read is still in the cache when it is hashed and sent.
  std::string read_block(BlockIndex index, std::string& block) {
    hashing_.acquire();
    std::string digest;
    try {
      disk_.read(index, block);
      const bool was_empty = parent_.count(index) == 0 && done_.count(index) == 0;
      if (!was_empty || !is_zero(block)) digest = sha256_hex(block);
    } catch (...) {
      hashing_.release();
      throw;
    }
    hashing_.release();
    return digest;
  }

  void send_block(BlockIndex index, std::string& block) {
    const std::string digest = read_block(index, block);
    if (digest.empty()) return;
    const auto known = parent_.find(index);
    const auto before = done_.find(index);
    const bool same = known != parent_.end() && known->second == digest;
    const bool arrived = before != done_.end() && before->second == digest;
    if (!arrived && (!same || before != done_.end())) {
      put_block(index, block, digest);
      log_.add(index, digest);
    }
    const std::lock_guard guard(lock_);
    held_[index] = digest;
    if (same && before == done_.end()) return;
    put_[index] = digest;
    sent_now_ += arrived ? 0 : 1;
  }

  // The client repeats what AWS calls transient until its budget for that is spent. With so many calls under way that comes soon when the
  // account's limit is reached: then fewer go at a time, and each is tried again. A checksum that does not fit what has arrived
  // (ValidationException) is the wire's doing, or this machine's memory's: it is tried twice more.
  void put_block(BlockIndex index, const std::string& block, const std::string& digest) {
    constexpr int kThrottledTries = 20, kRefusedTries = 3;
    for (int attempt = 1;; ++attempt) {
      gate_.enter();
      bool throttled = false;
      try {
        ebs_.put_block(snapshot_, index, block, digest);
        gate_.leave(false);
        return;
      } catch (const aws::ApiError& error) {
        throttled = aws::is_throttling_code(error.code());
        gate_.leave(throttled);
        const int tries = throttled ? kThrottledTries : error.code() == "ValidationException" ? kRefusedTries : 1;
        if (attempt >= tries || stop_) throw;
      } catch (...) {
        gate_.leave(false);
        throw;
      }
      if (throttled) surroundings_.sleep(std::chrono::milliseconds(100 + static_cast<int>(surroundings_.random() * 900)));
    }
  }

  void tell(Activity& activity, std::size_t blocks) {
    const auto now = std::chrono::steady_clock::now();
    const std::lock_guard guard(lock_);
    if (now - told_ < std::chrono::milliseconds(100) && blocks != order_.size()) return;
    told_ = now;
    const std::int64_t block_bytes = aws::kEbsBlockBytes;
    activity.progress({{"done", static_cast<std::int64_t>(blocks) * block_bytes},
                       {"total", static_cast<std::int64_t>(order_.size()) * block_bytes},
                       {"sent_bytes", sent_now_ * block_bytes}});
  }

  const aws::Surroundings& surroundings_;
  const aws::Ebs ebs_;
  const DiskBlocks disk_;
  const std::string snapshot_;
  const BlockList &parent_, &done_;
  BlockLog& log_;
  Gate gate_;
  std::counting_semaphore<> hashing_{static_cast<std::ptrdiff_t>(processor_count())};
  std::vector<BlockIndex> order_;
  std::atomic<std::size_t> next_ = 0;
  std::atomic<bool> stop_ = false;
  std::mutex lock_;
  BlockList put_, held_;
  std::int64_t sent_now_ = 0;
  std::chrono::steady_clock::time_point told_{};
};

// The newest earlier version of image `name` in the region, of which this store knows what it holds; or nothing. Its encryption must be the
// same: a child has its parent's (StartSnapshot refuses both a parent and an encryption).
std::string find_version(const aws::Ec2& ec2, const AmiBuild& build, const std::string& name) {
  std::string parent, newest;
  const std::string encryption = encryption_in(build.spec, ec2.region());
  for (const Json& snapshot : find_snapshots(ec2, kImageTag, name)) {
    const std::string id = aws::text(snapshot, "snapshotId"), started = aws::text(snapshot, "startTime");
    if (aws::text(snapshot, "status") != "completed" || aws::tag(snapshot, kEncryptionTag).value_or("") != encryption) continue;
    if (aws::tag(snapshot, kArchitectureTag).value_or("") != build.architecture || aws::text(snapshot, "storageTier") == "archive")
      continue;
    if (aws::integer(snapshot, "volumeSize").value_or(0) > build.size_gib || !fs::exists(list_file(build, id))) continue;
    if (parent.empty() || started > newest) {
      parent = id;
      newest = started;
    }
  }
  return parent;
}

std::string find_parent(const aws::Ec2& ec2, const AmiBuild& build) {
  const std::string own = find_version(ec2, build, build.image);
  return own.empty() && !build.like.empty() ? find_version(ec2, build, build.like) : own;
}

aws::NewSnapshot new_snapshot(const AmiBuild& build, const std::string& region, const Journal& journal) {
  aws::NewSnapshot wish;
  wish.volume_size_gib = build.size_gib;
  wish.parent_snapshot_id = journal.parent;
  wish.description = fmt::format("kiln image {} {}", build.image, build.digest.substr(0, 12));
  wish.client_token = aws::client_token(journal.nonce);
  wish.tags = snapshot_tags(build, region);
  wish.timeout = kSnapshotTimeout;
  const std::string encryption = encryption_in(build.spec, region);
  if (journal.parent.empty() && encryption != "no") {
    wish.encrypted = true;
    if (encryption != "default") wish.kms_key_arn = encryption;
  }
  return wish;
}

// Begins the snapshot, or finds the one that was begun.
Journal start(const aws::Ebs& ebs, const aws::Ec2& ec2, const AmiBuild& build) {
  const std::string region = ec2.region();
  Journal journal = read_journal(build, region);
  // Without the list of what the parent holds nobody knows what must be sent.
  if (!journal.parent.empty() && !fs::exists(list_file(build, journal.parent))) {
    if (!journal.snapshot.empty()) ec2.call("DeleteSnapshot", Json::object({{"SnapshotId", journal.snapshot}}));
    journal = {};
  }
  if (journal.nonce.empty()) {
    forget_upload(build, region);
    journal = {random_hex(16), find_parent(ec2, build), ""};
    write_journal(build, region, journal);
  }
  const std::string earlier = journal.snapshot;
  journal.snapshot = ebs.start_snapshot(new_snapshot(build, region, journal)).id;
  std::error_code ignored;
  if (journal.snapshot != earlier) fs::remove(log_file(build, region), ignored);
  write_journal(build, region, journal);
  return journal;
}

void wait_until_sealed(const aws::Session& session, const aws::Ec2& ec2, const std::string& snapshot) {
  const Json params = aws::filters({{"snapshot-id", {snapshot}}});
  aws::wait_until(session.surroundings(), fmt::format("snapshot '{}' to be completed", snapshot), kSealLimit, [&] {
    const Json answer = ec2.call("DescribeSnapshots", params);
    const std::string status = aws::text(answer, "snapshotSet/0/status");
    if (status == "error")
      fail("EBS could not make snapshot '{}' in {}: {}", snapshot, ec2.region(), aws::text(answer, "snapshotSet/0/statusMessage"));
    return status == "completed";
  });
}

UploadedSnapshot upload(const aws::Session& session, const aws::Ec2& ec2, const AmiBuild& build) {
  const aws::Ebs ebs(session);
  const std::string region = ec2.region();
  const auto began = std::chrono::steady_clock::now();
  Activity activity("upload " + region);
  const Journal journal = start(ebs, ec2, build);
  const BlockList parent = journal.parent.empty() ? BlockList() : read_block_list(list_file(build, journal.parent));
  const BlockList done = read_block_list(log_file(build, region));
  BlockLog log(log_file(build, region));
  Sender sender(session, build, journal.snapshot, parent, done, log);
  sender.run(activity);
  write_block_list(list_file(build, journal.snapshot), sender.held());
  const std::string checksum = sender.put().empty() ? "" : linear_checksum(sender.put());
  ebs.complete_snapshot(journal.snapshot, static_cast<std::int64_t>(sender.put().size()), checksum);
  wait_until_sealed(session, ec2, journal.snapshot);
  UploadedSnapshot snapshot{journal.snapshot,
                            false,
                            journal.parent,
                            sender.sent_now(),
                            static_cast<std::int64_t>(sender.held().size()),
                            std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count()};
  activity.finish({{"snapshot", snapshot.id}, {"blocks_sent", snapshot.blocks_sent}, {"blocks_held", snapshot.blocks_held}});
  return snapshot;
}

}  // namespace

void forget_upload(const AmiBuild& build, const std::string& region) {
  std::error_code ignored;
  fs::remove_all(upload_folder(build, region), ignored);
}

UploadedSnapshot ensure_snapshot(const aws::Session& session, const AmiBuild& build) {
  const aws::Ec2 ec2(session);
  const std::string region = ec2.region();
  for (const Json& snapshot : find_snapshots(ec2, kBuildTag, build.build)) {
    if (aws::text(snapshot, "status") == "completed") return {aws::required_text(snapshot, "snapshotId"), true, "", 0, 0, 0};
  }
  return with_context(fmt::format("uploading image '{}' to {}", build.image, region), [&] {
    try {
      return upload(session, ec2, build);
    } catch (const aws::ApiError& error) {
      if (!error.is_not_found() || read_journal(build, region).nonce.empty()) throw;
      // The snapshot that was begun, or its parent, is gone: somebody removed it, or EBS gave it up.
      forget_upload(build, region);
      return upload(session, ec2, build);
    }
  });
}

std::optional<std::string> take_over_upload(const aws::Session& session, const AmiBuild& build) {
  const aws::Ec2 ec2(session);
  const std::string region = ec2.region();
  if (!fs::exists(upload_folder(build, region))) return std::nullopt;
  std::optional<std::string> whole;
  for (const Json& snapshot : find_snapshots(ec2, kBuildTag, build.build)) {
    const std::string id = aws::required_text(snapshot, "snapshotId");
    if (aws::text(snapshot, "status") == "completed") {
      whole = id;
    } else {
      ec2.call("DeleteSnapshot", Json::object({{"SnapshotId", id}}));
    }
  }
  if (!whole) forget_upload(build, region);
  return whole;
}

std::vector<fs::path> build_folders(const fs::path& folder, const std::string& image, const std::string& architecture) {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder / "builds", ignored)) {
    const Json record = Json::parse(read_file_if_there(entry.path() / "build.json").value_or(""), nullptr, false);
    if (!record.is_object() || record.value("image", "") != image) continue;
    if (architecture.empty() || record.value("architecture", "") == architecture) found.push_back(entry.path());
  }
  return found;
}

void remove_unfinished(const aws::Session& session, const AmiBuild& build) {
  const aws::Ec2 ec2(session);
  const std::string region = ec2.region();
  std::error_code ignored;
  for (const auto& other : build_folders(build.folder, build.image, build.architecture)) {
    if (other == build.build_folder() || !fs::exists(other / region)) continue;
    for (const Json& snapshot : find_snapshots(ec2, kBuildTag, other.filename())) {
      const std::string id = aws::text(snapshot, "snapshotId");
      Json params = aws::filters({{"block-device-mapping.snapshot-id", {id}}});
      if (!aws::list(ec2.call("DescribeImages", params), "imagesSet").empty()) continue;
      ec2.call("DeleteSnapshot", Json::object({{"SnapshotId", id}}));
      fs::remove(build.folder / "blocks" / id, ignored);
    }
    fs::remove_all(other / region, ignored);
  }
}

}  // namespace kiln::image
