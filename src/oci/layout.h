// Images that lie on this machine: an OCI layout in a folder (OCI image spec, image-layout.md), the same in one tar file (oci-archive), or
// what `docker save` writes, old or new.
//
// `docker save` before engine 25 wrote no index and no manifest of the spec's kind, but manifest.json with the names of a config and of
// plain tars. The manifest is then made of that: the same archive gives the same one, and so the same digest.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "oci/manifest.h"

namespace kiln::oci {

class Layout {
 public:
  // UsageError when there is nothing there, or it is no layout.
  explicit Layout(const std::filesystem::path& place);

  // The manifest or index that `tag` names; without one, that of the only image there. Error with the names there are.
  Document root(const std::string& tag) const;
  // All that index.json names and that is there to be read.
  std::vector<Document> roots() const;
  // A manifest or config. Error when it is not there, or larger than a manifest may be.
  std::string read(const Descriptor& blob) const;
  // Copies blobs (hex digest → new file), in one pass over an archive. Their sizes and digests are checked.
  void copy(const std::vector<Descriptor>& blobs, const std::map<std::string, std::filesystem::path>& files) const;

 private:
  std::filesystem::path blob_path(const Descriptor& blob) const;
  void open_archive();
  void read_docker_manifest(const std::string& text, const std::map<std::string, std::int64_t>& sizes);

  std::filesystem::path place_;
  bool folder_ = false;
  std::string index_;                             // the text of index.json
  std::map<std::string, std::string> texts_;      // of an archive: small files by path; manifests that were made, by "blobs/sha256/HEX"
  std::map<std::string, std::string> elsewhere_;  // of an archive of docker's: "blobs/sha256/HEX" → the layer's path
};

}  // namespace kiln::oci
