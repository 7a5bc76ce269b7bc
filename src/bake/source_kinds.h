// How each kind of location is fetched; sources.cc alone uses this.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bake/sources.h"

namespace kiln::bake {

using ByteProgress = std::function<void(std::int64_t done, std::int64_t total)>;

// --- url (source_url.cc) ---
struct Download {
  std::string url;
  std::string name;            // the file's; default: the URL's last part
  std::string sha256, sha512;  // what it must be; one of them is given
};
// sources/sha256/…, downloaded unless it is there. Error "… is corrupt: …" after a second try from the start.
SourceFile fetch_download(const Store& store, const Download& download, const HttpOptions& http, const ByteProgress& on_progress);

// --- pypi (source_pypi.cc) ---
struct PythonTarget {
  std::string python_version;  // 3.13
  std::string architecture;    // amd64
};
// The index's page of a project, from PEP 691 JSON or PEP 503 HTML.
struct IndexFile {
  std::string name;
  std::string url;
  std::string sha256;
  std::string requires_python;
  bool yanked = false;
};
std::vector<IndexFile> parse_index(const std::string& body, const std::string& content_type, const std::string& page_url);
// The file to take for "name==version". Error: no such version (with those there are), or nothing that fits.
IndexFile choose_file(const std::vector<IndexFile>& files, const std::string& requirement, bool sdist, const PythonTarget& target);
// Asks the index.
Download find_on_index(const std::string& requirement, bool sdist, const PythonTarget& target, const HttpOptions& http);

// --- maven, git, file (source_tree.cc): a folder that is filled ---
void fetch_maven(const Store& store, const config::SourceLocation& location, const std::filesystem::path& folder);
// The commit.
std::string fetch_git(const config::SourceLocation& location, const std::filesystem::path& scratch, const std::filesystem::path& folder);

// --- oci (source_oci.cc): an image's manifest, config and layers, each a file in sources/sha256 ---
// Whether the location is a layout on this machine.
bool is_layout(const config::SourceLocation& location);
bool is_in_registry(const config::SourceLocation& location);
// What a layout holds now; nothing is copied.
SourceRecord look_at_layout(const config::SourceLocation& location, const std::string& architecture);
// From the layout or the registry, whole and verified. What was fetched of it before is not fetched again.
SourceRecord fetch_oci(const Store& store, const config::SourceLocation& location, const std::string& architecture, const HttpOptions& http,
                       const ByteProgress& on_progress);

// The folder's files with their digests, sorted; modes and times are made the same for everybody (0755/0644, the epoch 0).
std::vector<SourceFile> normalise_tree(const std::filesystem::path& folder);
std::string digest_of_list(const std::filesystem::path& folder, const std::vector<SourceFile>& files);

}  // namespace kiln::bake
