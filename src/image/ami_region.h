// One region's AMIs of a build: what is there, what is missing, and how that is made.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "aws/session.h"
#include "base/json.h"
#include "image/ami_build.h"

namespace kiln::image {

// All regions wait for EC2 at the same time: more than there are.
constexpr std::size_t kRegionsAtOnce = 64;

struct Ami {
  std::string region, id, name;
  std::string image, digest, build, architecture;
  AmiKind kind;
  std::string state;     // "available", "pending", "failed" …
  std::string snapshot;  // of its root; may be empty while it is pending
  std::string created;   // "2026-11-21T17:23:25.000Z"
  std::string deprecation;
  bool is_public = false;
  bool encrypted = false;
  bool made = false;  // by this run
  Tags tags;
  Json to_json() const;
};

// From DescribeImages' answer.
Ami read_ami(const std::string& region, const Json& image);
// The account's own AMIs that carry the tag with the value ("*": any).
std::vector<Ami> find_amis(const aws::Session& session, const std::string& tag, const std::string& value);

// An AMI of a kind, registered of a snapshot in the session's region; the one that is there when it is. Given back when EC2 shows it as
// available. Error when the name is taken by an AMI that is not kiln's, or the region has no pv-grub kernel for a paravirtual one.
Ami register_ami(const aws::Session& session, const AmiBuild& build, const AmiKind& kind, const std::string& snapshot);

// A copy of `source` in the session's region, waited for. `there`: one that an earlier run began.
Ami copy_ami(const aws::Session& session, const AmiBuild& build, const Ami& source, const std::optional<Ami>& there);

// Waits until EC2 shows it as available. Error with EC2's reason when it cannot become so.
Ami wait_for_ami(const aws::Session& session, const std::string& id);

// Brings tags, launch permissions, deprecation date and fast snapshot restore to what the spec says; changes nothing that is so already.
// True when it changed something. Permissions that the spec does not name stay.
bool settle_ami(const aws::Session& session, const AmiBuild& build, const Ami& ami);
bool settle_fast_restore(const aws::Session& session, const AmiBuild& build, const std::string& snapshot);

// The newest pv-grub kernel of the region for disks with partitions; nothing where there is none.
std::optional<std::string> find_pv_kernel(const aws::Session& session);

}  // namespace kiln::image
