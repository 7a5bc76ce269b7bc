// Images as they lie with a cloud's provider, for `kiln image list|rm|copy|prune --on PLACE`. A place is an entry of the table in
// remote_images.cc.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"

namespace kiln::image {

struct RemoteOptions {
  std::vector<std::string> regions;   // "all" or names; empty: all
  std::vector<std::string> profiles;  // whose credentials; empty: the environment's
  std::filesystem::path list;         // a list of ids to keep in step (ami_list.h); empty: none
  std::filesystem::path home;         // the store's, for what it remembers of uploads
  bool force = false;                 // also what is in use
  bool dry_run = false;
};

struct RemoteImage {
  std::string name, region, id, kind, digest, build, state, created;
  Json facts = Json::object();
};

// What was done, and what could not be: a region that fails leaves the others alone.
struct RemoteChange {
  std::vector<RemoteImage> removed, made, kept;
  std::vector<std::string> removed_snapshots;
  std::vector<std::string> failures;  // "eu-central-1: why"
};

class RemoteImages {
 public:
  virtual ~RemoteImages() = default;
  // kiln's own, of all names or of one; those that are not kiln's are never shown, and never touched.
  virtual std::vector<RemoteImage> list(const std::string& name, RemoteChange& failures) const = 0;
  // All of that name, and what they are made of. UsageError when there is none; Error when one is in use, unless `force`.
  virtual RemoteChange remove(const std::string& name) const = 0;
  // The newest of that name, to the regions that lack it.
  virtual RemoteChange copy(const std::string& name) const = 0;
  // All but the newest `keep` bakes in each region, of one name or (empty) of each. What is in use stays.
  virtual RemoteChange prune(const std::string& name, std::size_t keep) const = 0;
};

// UsageError, with the places that there are, for another word.
std::unique_ptr<RemoteImages> remote_images(const std::string& place, const RemoteOptions& options);
std::vector<std::string> remote_places();

}  // namespace kiln::image
