// A disk becomes a snapshot, by the EBS direct API: no instance, no volume.
//
// Its blocks that are not all zero are sent by many threads at once, each hashed; with an earlier version of the image in the region that
// was sent from this store, the snapshot is a child of that one, and only blocks that differ are sent (zeros where one has become empty).
// A run that is cut goes on where it was: the snapshot is found by its ClientToken or tags, and what has arrived is in the log.
//
//   HOME/aws/builds/BUILD/REGION/upload.json   {"nonce", "parent"}: written before the snapshot is started; removed when it is registered
//   HOME/aws/builds/BUILD/REGION/done          what has arrived (ami_blocks.h)
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "aws/session.h"
#include "image/ami_build.h"

namespace kiln::image {

struct UploadedSnapshot {
  std::string id;
  bool reused = false;  // it was there, whole
  std::string parent;   // or empty
  std::int64_t blocks_sent = 0, blocks_held = 0;
  double seconds = 0;
};

// Gives the build's snapshot in the session's region, completed. Errors: ApiError; what was sent until then stays, for the next call.
UploadedSnapshot ensure_snapshot(const aws::Session& session, const AmiBuild& build);

// Forgets how far the upload is: its snapshot is registered, or to be begun anew.
void forget_upload(const AmiBuild& build, const std::string& region);

// A region to which an upload was begun before another was chosen for it: its snapshot where that is whole; else what was begun is removed.
// Asks AWS only when this store knows of such an upload.
std::optional<std::string> take_over_upload(const aws::Session& session, const AmiBuild& build);

// Removes what earlier builds of the same image and architecture left unfinished in the region: snapshots that carry the tags of a build
// that is known to this store, and that no AMI refers to. Their folders of that region go, too.
void remove_unfinished(const aws::Session& session, const AmiBuild& build);

// HOME/aws/builds/BUILD of each of an image's builds that is not done everywhere; `folder`: HOME/aws; `architecture`: "arm64", or empty for
// those of all.
std::vector<std::filesystem::path> build_folders(const std::filesystem::path& folder, const std::string& image,
                                                 const std::string& architecture = {});

}  // namespace kiln::image
