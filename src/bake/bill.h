// The bill of materials: what is in an image, by name, version and digest. SBOMs (sbom.h), `kiln image diff` and lock files are made of it.
//
// What files alone can tell is read once for each layer, in a cell, and kept beside it:
//   layers/KEY/bill.json   {"format": 2, "os": {"id", "version", "codename"}, "databases": [KIND…], "unread": false, "packages": [{"kind",
//                          "name", "version", "architecture", "source", "source_version", "digest"}…], "python": [{"name", "version",
//                          "licence", "path"}…], "jars": [{"path", "group", "artifact", "version"}…], "privileged": [{"path", "mode",
//                          "uid", "gid"}…], "opaque": [PATH…], "licences": {PACKAGE: EXPRESSION}}
// A layer that has a package manager's database (of the kind deb or rpm) lists all packages of that kind as of that layer, and the topmost
// list is the image's. dpkg's is read, rpm's own program is asked (rpm.h). The rest is of this layer alone. A layer without the file (it is
// older than kiln's knowledge of it), or with one of another format, is read when somebody asks. What was fetched comes from the sources'
// records, what modules there are from the image's.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "bake/sources.h"
#include "bake/store.h"
#include "config/image_spec.h"

namespace kiln::bake {

// Counts how layers are read: another number, and all are read anew, and every image's SBOM with them.
inline constexpr int kBillFormat = 2;

struct DistributionPackage {
  std::string kind = "deb";  // as package URLs call it: deb, rpm
  std::string name, version, architecture;
  std::string source, source_version;  // the source package
  std::string licence = {};            // an SPDX expression, where its copyright file says it in terms that have one
  std::string digest = {};             // rpm: SHA-256 of the package's header, in which that of its content is; else empty
};

struct PythonPackage {
  std::string name, version;
  std::string licence;  // an SPDX expression, where the package says one
  std::string path;     // its .dist-info folder
};

// A Java archive that says who it is (META-INF/maven/…/pom.properties).
struct JavaArchive {
  std::string path;
  std::string group, artifact, version;  // empty: it does not say
};

// A file that runs as its owner or group, whoever starts it.
struct PrivilegedFile {
  std::string path;
  std::uint32_t mode = 0, uid = 0, gid = 0;
  bool operator==(const PrivilegedFile&) const = default;
};

struct OsRelease {
  std::string id, version, codename;  // debian, 13, trixie; empty: the image has no os-release
};

struct LayerBill {
  OsRelease os;
  std::vector<std::string> databases;  // kinds of packages that are listed, sorted
  bool unread = false;                 // it has an rpm database that nothing in the image can read
  std::vector<DistributionPackage> packages;
  std::vector<PythonPackage> python;
  std::vector<JavaArchive> jars;
  std::vector<PrivilegedFile> privileged;
  std::vector<std::string> opaque;              // folders that hide what is below
  std::map<std::string, std::string> licences;  // of distribution packages whose copyright file is in this layer
  Json to_json() const;
  static LayerBill from_json(const Json& json);
};

// Of each of the layers, which lie on each other, lowest first. Starts one cell when a layer was not read yet, and one for each of those
// that has an rpm database, else nothing.
std::vector<LayerBill> layer_bills(const Store& store, const std::vector<std::string>& keys, const std::string& architecture);

// The same with one more at the end: that whose finished files are in the work folder, and that is no layer yet.
std::vector<LayerBill> bills_with_work(const Store& store, const std::vector<std::string>& keys, const std::filesystem::path& work,
                                       const std::filesystem::path& log, const std::string& architecture);

// What is installed with all of the layers: of each kind the topmost list. By kind, then as it is listed.
std::vector<DistributionPackage> installed_packages(const std::vector<LayerBill>& bills);

struct BillSource {
  std::string name;
  config::SourceLocation location;  // the mirror that gave it, placeholders filled in
  SourceRecord record;              // with its digest alone, where the store no longer knows more
};

struct BillModule {
  std::string name, summary;
  config::Values params;
  std::map<std::string, std::string> files;  // path in its folder → "digest mode"
  std::vector<BillSource> sources;
};

struct Bill {
  std::string image, summary, digest, architecture;
  std::int64_t epoch = 0;
  std::string agent_digest;  // SHA-256 of kiln-node
  OsRelease os;
  std::vector<DistributionPackage> packages;  // by name, then architecture
  bool unread_packages = false;               // there are more, in an rpm database that nothing in the image can read
  std::vector<PythonPackage> python;          // by name; without the distribution's own
  std::vector<JavaArchive> jars;              // by path
  std::vector<PrivilegedFile> privileged;     // by path
  std::vector<BillModule> modules;
};

// Errors when a layer is no longer in the store. `image` may lack its top layer, which is not made yet while its SBOM is written into it;
// a record then comes out the same, as the top layer holds nothing that is billed but the agent, which is given.
Bill bill_of(const Store& store, const Image& image, const std::string& agent_digest);
Bill bill_of(const Store& store, const Image& image);

// The paths of the image's files, as seen with all layers on top of each other.
struct MergedFile {
  std::size_t layer = 0;  // the index of the one that it is seen from
  std::string path;       // as it is on the disk; the map's key is text
  char type = 'f';        // as in layer_files.h
  std::int64_t size_bytes = 0;
};
std::map<std::string, MergedFile> merged_files(const Store& store, const std::vector<Layer>& layers, const std::vector<LayerBill>& bills);

// The text, each byte that is no part of valid UTF-8 replaced by U+FFFD: JSON holds nothing else, and files may be called anything.
std::string as_utf8(const std::string& text);

// Parsers, for whoever has the text.
std::vector<DistributionPackage> parse_dpkg_status(const std::string& text);
OsRelease parse_os_release(const std::string& text);
// /usr/share/doc/PACKAGE/copyright in the machine-readable format 1.0
// (https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/): all licences of the package, as an SPDX expression. Empty when the
// file has another format, or one of its licences has no identifier of SPDX's for sure.
std::string parse_copyright(const std::string& text);
PythonPackage parse_python_metadata(const std::string& text, const std::string& path);

}  // namespace kiln::bake
