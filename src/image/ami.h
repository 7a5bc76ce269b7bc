// The target `ami`: the disk as Amazon machine images, in every region that is asked for.
//
// The regions of one partition (aws, aws-cn, aws-us-gov) share one upload: the disk's blocks go to a snapshot in one of them
// (ami_upload.h), it is registered there, and EC2 copies that AMI to all others at the same time. So a block goes over the user's own line
// once, not once a region; what a region lacks beyond the copied AMI is registered of the copy's own snapshot, so there is one snapshot a
// region, whatever the number of combinations. Rejected: an upload to each region (no faster where the line is what limits, and dearer),
// and CopyImage for each AMI (a snapshot each).
// A partition's regions are served by the profile whose own region is in it.
//
// What is there is found by tags (ami_build.h), and only what is missing is made; a region that fails is told and leaves the others alone.
//
//   HOME/aws/builds/BUILD/build.json     {"image", "architecture", "nonce"}: a build that is not done everywhere; removed when it is
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "aws/session.h"
#include "bake/store.h"
#include "config/ami_spec.h"
#include "image/ami_region.h"
#include "image/disk.h"

namespace kiln::image {

struct AmiFailure {
  std::string region;
  std::string why;
  std::string hint;
};

struct AmiResult {
  std::vector<Ami> amis;  // by region
  std::vector<AmiFailure> failures;
  std::int64_t blocks_sent = 0, snapshots_made = 0;
  std::size_t regions = 0, made = 0;
  double upload_seconds = 0;  // of the slowest upload
  bool changed = false;
};

// What is asked for beside image and disk.
struct AmiWish {
  config::AmiSpec spec;
  std::filesystem::path list = {};  // the folder of ami-list (ami_list.h); empty: none is kept
  std::string image = {};           // its name with EC2, which images of one spec for several architectures share; empty: the image's own
  std::string like = {};            // another image of which it has most blocks; empty: none
  bool is_beside_amd64 = false;     // one of those, another of which is for amd64: the list's old files are that one's
};

// A session for each of the profiles, or for that of the environment; UsageError when two are of one partition.
std::vector<aws::Session> ami_sessions(const config::AmiSpec& spec);
// The regions that are asked for, each as the session in it; `all`: what the accounts have enabled. Regions of a partition that no
// profile is of are in `failures`.
std::vector<aws::Session> ami_regions(const config::AmiSpec& spec, std::vector<AmiFailure>& failures);

// What a bake does: makes what is missing and updates the list. Throws for what concerns all regions; what concerns one is
// in the result's failures.
AmiResult make_amis(const bake::Store& store, const bake::Image& image, const Disk& disk, const AmiWish& wish);

// The same without a disk: AMIs of `build` that are in one region are copied to those that lack them. (kiln image copy)
void spread_amis(const AmiBuild& build, const std::vector<aws::Session>& regions, AmiResult& result);

// "16 AMIs in 8 regions, 16 of them new, 231 blocks sent"
std::string ami_words(const AmiResult& result);
// The Error that tells of the failures, when there are any.
void throw_ami_failures(const AmiResult& result);

}  // namespace kiln::image
