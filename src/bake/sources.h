// Sources: what modules name under `sources:`, fetched once, verified, and kept by content.
//
// A source's record, sources/index/KEY.json, says what its locations gave:
//   {"source": "spark/jars", "digest": HEX, "folder": true, "name": "", "from": "maven: …", "files": [{"path", "sha256", "from"}…]}
// KEY is a digest of the locations in their order (and of the Python a wheel must fit). As long as the record is there nobody asks the
// network again, also when the content itself is gone: a layer that exists does not need it. A file's digest is its SHA-256; a
// folder's is the SHA-256 of its sorted list of "path mode digest" lines, for git trees too (not the commit: two commits with the same
// tree bake the same layer). A base's OCI image is a source as well: its digest is that of the manifest for the architecture, its files
// are manifest, config and layers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bake/http.h"
#include "bake/store.h"
#include "config/image_spec.h"
#include "oci/layer.h"

namespace kiln::bake {

// One source of one module, its placeholders filled in.
struct SourceRequest {
  std::string module;  // empty: the base's
  config::SourceSpec spec;
  std::filesystem::path module_folder;  // what `file:` is relative to
  std::string python_version;           // "3.13": which wheels fit
  std::string architecture;             // amd64, arm64
};

struct SourceFile {
  std::string path;  // within the folder; of a single file, its name
  std::string sha256;
  std::string from;  // URL without credentials, coordinate …
};

struct SourceRecord {
  std::string digest;
  bool folder = false;
  std::string name;  // the file's name; empty for a folder
  std::string from;
  std::vector<SourceFile> files;
  Json to_json() const;
  static SourceRecord from_json(const Json& json);
};

class Sources {
 public:
  explicit Sources(const Store& store, HttpOptions http = {}) : store_(store), http_(std::move(http)) {}

  // What is known without the network: nothing for a location that was never fetched.
  std::optional<SourceRecord> find(const SourceRequest& request) const;
  bool is_cached(const SourceRecord& record) const;
  // sources/sha256/DIGEST or sources/tree/DIGEST
  std::filesystem::path path_of(const SourceRecord& record) const;

  // Gets it from the first location that gives it, verified, and records it. Says its progress as the activity "source MODULE/NAME".
  // Error naming each location and what was wrong with it. Two that want the same wait for each other.
  // `again`: also when it was resolved before, for what may have moved since (a tag).
  SourceRecord fetch(const SourceRequest& request, bool again = false) const;

 private:
  SourceRecord fetch_from(const SourceRequest& request, const config::SourceLocation& location,
                          const std::function<void(std::int64_t done, std::int64_t total)>& on_progress) const;
  const Store& store_;
  HttpOptions http_;
};

// The image that a spec stands on, when that is an OCI image.
std::optional<SourceRequest> base_request(const config::ImageSpec& spec);
// Its layers in the store, lowest first.
std::vector<oci::LayerFile> base_layers(const Sources& sources, const SourceRecord& record);

// Requests for the sources of a module that it has with these `values`: its parameters and the built-in names, which fill the
// placeholders. UsageError for a git source without a ref, or with a URL that is none.
std::vector<SourceRequest> source_requests(const config::Module& module, const config::Values& values);

// A source as a script gets it: KILN_SOURCE_<NAME> is `target`, where `path` shall be bind-mounted.
struct MountedSource {
  std::string name;
  std::filesystem::path path;    // in the store
  std::filesystem::path target;  // /run/kiln/sources/NAME/FILE or /run/kiln/sources/NAME
};
MountedSource mounted_source(const Sources& sources, const std::string& name, const SourceRecord& record);

// The commit that a record's `from` tells of ("git: URL at REF (COMMIT)"); empty where it is no git tree.
std::string commit_of(const std::string& from);

// By source: what KILN_SOURCE_<NAME> is.
using SourceFolders = std::map<std::string, std::filesystem::path>;

}  // namespace kiln::bake
