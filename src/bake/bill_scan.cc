// Reads a layer's files for its bill, in a cell. What the files say is data from anywhere: links are not followed, sizes are bounded.
#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <tuple>

#include "bake/bill.h"
#include "bake/bill_job.h"
#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "container/cell.h"

namespace kiln::bake {

const char* const kBillJob = "bake.bill";

namespace {

// Debian's own database has 3 MB for 2,000 packages; what is larger than these is no such file.
constexpr std::int64_t kMaxDatabaseBytes = 256 << 20, kMaxTextBytes = 4 << 20;

// Nothing when it is no file, too large, or reached through a link, which would lead out of the layer.
std::optional<std::string> read_plain_file(const fs::path& files, const std::string& path, std::int64_t max_bytes) {
  fs::path at = files;
  struct stat status {};
  for (const auto& part : fs::path(path)) {
    at /= part;
    if (::lstat(at.c_str(), &status) != 0 || S_ISLNK(status.st_mode)) return std::nullopt;
  }
  if (!S_ISREG(status.st_mode) || status.st_size > max_bytes) return std::nullopt;
  return read_file(at);
}

// "Name: value" lines up to the first empty one; a line that begins with a blank goes on the one before, and is left out.
std::map<std::string, std::string> read_fields(std::string_view text) {
  std::map<std::string, std::string> fields;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = text.substr(start, end - start);
    start = end + 1;
    if (trim(line).empty()) break;
    const std::size_t colon = line.find(':');
    if (line.front() == ' ' || line.front() == '\t' || colon == std::string_view::npos) continue;
    fields.emplace(std::string(line.substr(0, colon)), std::string(trim(line.substr(colon + 1))));
  }
  return fields;
}

std::string field(const std::map<std::string, std::string>& fields, const char* name) {
  const auto found = fields.find(name);
  return found == fields.end() ? std::string() : found->second;
}

// pom.properties of a jar: the only one, or among those of a jar that swallowed others the one that its file name begins with.
JavaArchive read_jar(const fs::path& file, const std::string& path) {
  JavaArchive jar{path, "", "", ""};
  const std::unique_ptr<archive, decltype(&archive_read_free)> reader(archive_read_new(), archive_read_free);
  archive_read_support_format_zip_seekable(reader.get());
  constexpr std::size_t kBlock = 1 << 16;
  if (archive_read_open_filename(reader.get(), file.c_str(), kBlock) != ARCHIVE_OK) return jar;
  std::vector<JavaArchive> found;
  archive_entry* entry = nullptr;
  while (archive_read_next_header(reader.get(), &entry) == ARCHIVE_OK) {
    const char* name = archive_entry_pathname(entry);
    if (name == nullptr) continue;
    const std::string inside = name;
    if (!inside.starts_with("META-INF/maven/") || !inside.ends_with("/pom.properties")) continue;
    std::string text(16384, '\0');
    const auto size = archive_read_data(reader.get(), text.data(), text.size());
    if (size <= 0) continue;
    text.resize(static_cast<std::size_t>(size));
    JavaArchive one{path, "", "", ""};
    for (const auto& line : split(text, '\n')) {
      const std::size_t equals = line.find('=');
      if (equals == std::string::npos) continue;
      const std::string key(trim(std::string_view(line).substr(0, equals))), value(trim(std::string_view(line).substr(equals + 1)));
      if (key == "groupId") one.group = value;
      if (key == "artifactId") one.artifact = value;
      if (key == "version") one.version = value;
    }
    if (!one.group.empty() && !one.artifact.empty() && !one.version.empty()) found.push_back(one);
  }
  const std::string stem = fs::path(path).stem();
  for (const auto& one : found) {
    if (stem == one.artifact + "-" + one.version || (found.size() == 1 && stem.starts_with(one.artifact))) return one;
  }
  return jar;
}

bool is_opaque(const fs::path& path) {
  for (const char* name : {"user.overlay.opaque", "trusted.overlay.opaque"}) {
    char value = 0;
    if (::lgetxattr(path.c_str(), name, &value, 1) == 1 && value == 'y') return true;
  }
  return false;
}

void look_at(LayerBill& bill, const fs::path& file, const std::string& path, const struct stat& status) {
  const std::string name = file.filename();
  if (S_ISDIR(status.st_mode)) {
    if (is_opaque(file)) bill.opaque.push_back(path);
    return;
  }
  if (!S_ISREG(status.st_mode)) return;
  if ((status.st_mode & (S_ISUID | S_ISGID)) != 0) bill.privileged.push_back({path, status.st_mode & 07777, status.st_uid, status.st_gid});
  if (name == "METADATA" && file.parent_path().extension() == ".dist-info" && status.st_size <= kMaxTextBytes) {
    // The distribution's own are packages of its own, and in its list.
    if (path.starts_with("usr/lib/python3/dist-packages/")) return;
    auto package = parse_python_metadata(read_file(file), fs::path(path).parent_path());
    if (!package.name.empty()) bill.python.push_back(std::move(package));
  }
  if (name == "copyright" && path.starts_with("usr/share/doc/") && status.st_size <= kMaxTextBytes) {
    const fs::path folder = fs::path(path).parent_path();
    if (folder.parent_path() != "usr/share/doc") return;
    if (const std::string licence = parse_copyright(read_file(file)); !licence.empty()) bill.licences[folder.filename()] = licence;
  }
  if (name.ends_with(".jar")) bill.jars.push_back(read_jar(file, path));
}

// Names that are no text can still be listed, under one that is near.
void make_text(LayerBill& bill) {
  const auto clean = [](std::initializer_list<std::string*> texts) {
    for (std::string* text : texts) *text = as_utf8(*text);
  };
  clean({&bill.os.id, &bill.os.version, &bill.os.codename});
  for (auto& package : bill.packages)
    clean({&package.name, &package.version, &package.architecture, &package.source, &package.source_version});
  for (auto& package : bill.python) clean({&package.name, &package.version, &package.licence, &package.path});
  for (auto& jar : bill.jars) clean({&jar.path, &jar.group, &jar.artifact, &jar.version});
  for (auto& file : bill.privileged) clean({&file.path});
  for (auto& path : bill.opaque) clean({&path});
}

LayerBill read_layer(const fs::path& files) {
  LayerBill bill;
  // rpm's database is its own program's to read (rpm.h).
  if (const auto status = read_plain_file(files, "var/lib/dpkg/status", kMaxDatabaseBytes)) {
    bill.databases = {"deb"};
    bill.packages = parse_dpkg_status(*status);
  }
  // The first goes before the second (os-release(5)); as a rule it is a link to it.
  for (const char* path : {"etc/os-release", "usr/lib/os-release"}) {
    if (!bill.os.id.empty()) break;
    if (const auto text = read_plain_file(files, path, kMaxTextBytes)) bill.os = parse_os_release(*text);
  }
  const std::size_t prefix = files.native().size() + 1;
  for (const auto& entry : fs::recursive_directory_iterator(files)) {
    struct stat status {};
    if (::lstat(entry.path().c_str(), &status) != 0) fail("cannot look at '{}': {}", entry.path().native(), errno_text(errno));
    look_at(bill, entry.path(), entry.path().native().substr(prefix), status);
  }
  const auto by_path = [](const auto& a, const auto& b) { return a.path < b.path; };
  std::sort(bill.python.begin(), bill.python.end(), by_path);
  std::sort(bill.jars.begin(), bill.jars.end(), by_path);
  std::sort(bill.privileged.begin(), bill.privileged.end(), by_path);
  std::sort(bill.opaque.begin(), bill.opaque.end());
  make_text(bill);
  return bill;
}

Json bill_job(const Json& arguments) {
  Json bills = Json::array();
  for (const auto& folder : arguments.at("folders")) bills.push_back(read_layer(folder.get<std::string>()).to_json());
  return {{"bills", bills}};
}

const container::RegisterCellJob kBill{kBillJob, bill_job};

}  // namespace

std::vector<DistributionPackage> parse_dpkg_status(const std::string& text) {
  std::vector<DistributionPackage> packages;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find("\n\n", start), text.size());
    const auto fields = read_fields(std::string_view(text).substr(start, end - start));
    start = end + 2;
    // "install ok installed"; configuration files that a removed package left are no package.
    if (!field(fields, "Status").ends_with(" installed")) continue;
    DistributionPackage package;
    package.name = field(fields, "Package");
    package.version = field(fields, "Version");
    package.architecture = field(fields, "Architecture");
    // "name", or "name (version)" where the two versions differ.
    const std::string source = field(fields, "Source");
    const std::size_t bracket = source.find(" (");
    package.source = source.empty() ? package.name : source.substr(0, bracket);
    package.source_version =
        bracket != std::string::npos && source.ends_with(')') ? source.substr(bracket + 2, source.size() - bracket - 3) : package.version;
    if (!package.name.empty()) packages.push_back(std::move(package));
  }
  std::sort(packages.begin(), packages.end(),
            [](const auto& a, const auto& b) { return std::tie(a.name, a.architecture) < std::tie(b.name, b.architecture); });
  return packages;
}

OsRelease parse_os_release(const std::string& text) {
  OsRelease os;
  for (const auto& line : split(text, '\n')) {
    const std::size_t equals = line.find('=');
    if (equals == std::string::npos) continue;
    std::string value(trim(std::string_view(line).substr(equals + 1)));
    if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') && value.back() == value.front())
      value = value.substr(1, value.size() - 2);
    const std::string key = line.substr(0, equals);
    if (key == "ID") os.id = value;
    if (key == "VERSION_ID") os.version = value;
    if (key == "VERSION_CODENAME") os.codename = value;
  }
  return os;
}

namespace {

// The short names of Debian's format 1.0 that mean one licence for sure, and nothing else; its "MIT" and "BSD" may be one of many.
const std::map<std::string, std::string>& spdx_names() {
  static const std::map<std::string, std::string> kNames = {{"Apache-2.0", "Apache-2.0"},
                                                            {"BSD-2-clause", "BSD-2-Clause"},
                                                            {"BSD-3-clause", "BSD-3-Clause"},
                                                            {"BSD-4-clause", "BSD-4-Clause"},
                                                            {"BSL-1.0", "BSL-1.0"},
                                                            {"CC0-1.0", "CC0-1.0"},
                                                            {"Expat", "MIT"},
                                                            {"FSFAP", "FSFAP"},
                                                            {"FSFUL", "FSFUL"},
                                                            {"FSFULLR", "FSFULLR"},
                                                            {"GPL-1", "GPL-1.0-only"},
                                                            {"GPL-1+", "GPL-1.0-or-later"},
                                                            {"GPL-2", "GPL-2.0-only"},
                                                            {"GPL-2+", "GPL-2.0-or-later"},
                                                            {"GPL-3", "GPL-3.0-only"},
                                                            {"GPL-3+", "GPL-3.0-or-later"},
                                                            {"ISC", "ISC"},
                                                            {"LGPL-2", "LGPL-2.0-only"},
                                                            {"LGPL-2+", "LGPL-2.0-or-later"},
                                                            {"LGPL-2.1", "LGPL-2.1-only"},
                                                            {"LGPL-2.1+", "LGPL-2.1-or-later"},
                                                            {"LGPL-3", "LGPL-3.0-only"},
                                                            {"LGPL-3+", "LGPL-3.0-or-later"},
                                                            {"MPL-1.1", "MPL-1.1"},
                                                            {"MPL-2.0", "MPL-2.0"},
                                                            {"Unlicense", "Unlicense"},
                                                            {"X11", "X11"},
                                                            {"Zlib", "Zlib"},
                                                            {"bzip2-1.0.6", "bzip2-1.0.6"},
                                                            {"zlib", "Zlib"}};
  return kNames;
}

// "GPL-2+ or Expat" → "(GPL-2.0-or-later OR MIT)"; "A and B" → both. Nothing when a part has no identifier.
std::optional<std::set<std::string>> spdx_terms(std::string text) {
  std::set<std::string> terms;
  // Which of the two binds closer depends on commas: a mix is nothing to be sure of.
  if (text.find(" or ") != std::string::npos && text.find(" and ") != std::string::npos) return std::nullopt;
  std::vector<std::string> alternatives;
  const auto end_of_term = [&] {
    if (alternatives.empty()) return false;
    terms.insert(alternatives.size() == 1 ? alternatives[0] : "(" + join(alternatives, " OR ") + ")");
    alternatives.clear();
    return true;
  };
  bool wants_name = true;
  for (const auto& word : split(text, ' ')) {
    if (word.empty()) continue;
    if (word == "or" || word == "and") {
      if (wants_name || (word == "and" && !end_of_term())) return std::nullopt;
      wants_name = true;
      continue;
    }
    const auto name = spdx_names().find(word);
    // Two names with nothing between, as in "GPL-2+ with-exception": who knows what that is.
    if (name == spdx_names().end() || !wants_name) return std::nullopt;
    alternatives.push_back(name->second);
    wants_name = false;
  }
  if (wants_name || !end_of_term()) return std::nullopt;
  return terms;
}

}  // namespace

std::string parse_copyright(const std::string& text) {
  const std::string format = field(read_fields(text), "Format");
  if (format.find("copyright-format/1.0") == std::string::npos) return {};
  std::set<std::string> all;
  for (const auto& line : split(text, '\n')) {
    constexpr std::string_view kField = "License:";
    if (!line.starts_with(kField)) continue;
    const auto terms = spdx_terms(std::string(trim(std::string_view(line).substr(kField.size()))));
    if (!terms) return {};
    all.insert(terms->begin(), terms->end());
  }
  return join({all.begin(), all.end()}, " AND ");
}

PythonPackage parse_python_metadata(const std::string& text, const std::string& path) {
  const auto fields = read_fields(text);
  return {field(fields, "Name"), field(fields, "Version"), field(fields, "License-Expression"), path};
}

}  // namespace kiln::bake
