// The EBS direct API (version 2019-11-02): snapshots written and read block by block, without an instance.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aws/client.h"

namespace kiln::aws {

constexpr std::size_t kEbsBlockBytes = 512 * 1024;

struct NewSnapshot {
  std::int64_t volume_size_gib = 0;
  std::string parent_snapshot_id;  // empty: none
  std::string description;
  std::string client_token;  // the same token and parameters: the same snapshot (for the timeout's time)
  bool encrypted = false;
  std::string kms_key_arn;  // with encrypted; empty: the account's default key
  std::vector<std::pair<std::string, std::string>> tags;
  std::chrono::minutes timeout{60};  // EBS gives the snapshot up when nothing was written for so long (10 to 4320)
};

struct StartedSnapshot {
  std::string id;
  std::string status;  // "pending"
  std::string parent_snapshot_id;
  std::string kms_key_arn;
  std::int64_t volume_size_gib = 0;
  std::int64_t block_size_bytes = 0;
};

struct SnapshotBlock {
  std::int64_t index = 0;
  std::string token;        // to read it; for changed blocks the second snapshot's, empty: not there
  std::string first_token;  // changed blocks: the first snapshot's; empty: not there
};

class Ebs {
 public:
  explicit Ebs(const Session& session);
  const std::string& region() const { return client_.region(); }

  // All throw ApiError; all may be used by many threads at once.
  StartedSnapshot start_snapshot(const NewSnapshot& snapshot) const;
  // `data`: kEbsBlockBytes. `sha256_hex`: of data, when it is known already (it is needed twice, and is most of the work).
  void put_block(const std::string& snapshot_id, std::int64_t index, std::string_view data, const std::string& sha256_hex = {}) const;
  // The status: "pending", then "completed". `changed_blocks`: how many were put; EBS refuses when it is wrong. Safe to repeat.
  // `checksum_base64`: of the whole snapshot (SHA-256 over the blocks' binary SHA-256 sums in the order of their indices), or empty.
  std::string complete_snapshot(const std::string& snapshot_id, std::int64_t changed_blocks, const std::string& checksum_base64 = {}) const;

  // Blocks that hold something, in order; all pages, a page at a time (a big snapshot has hundreds of thousands).
  void list_snapshot_blocks(const std::string& snapshot_id, const std::function<void(const SnapshotBlock&)>& each) const;
  void list_changed_blocks(const std::string& first_snapshot_id, const std::string& second_snapshot_id,
                           const std::function<void(const SnapshotBlock&)>& each) const;
  // The block's bytes, checked against the checksum that EBS sends (Error when it does not fit).
  std::string get_block(const std::string& snapshot_id, std::int64_t index, const std::string& token) const;

 private:
  Json json_call(const std::string& operation, const std::string& method, const std::string& path, const std::string& query,
                 const Json& body, const Headers& headers = {}) const;
  void list_blocks(const std::string& operation, const std::string& path, std::string query, std::string_view item_path,
                   const std::function<void(const SnapshotBlock&)>& each) const;
  Client client_;
};

}  // namespace kiln::aws
