#include "bake/sbom.h"

#include <algorithm>
#include <cctype>
#include <ctime>
#include <set>

#include "bake/rpm.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"

namespace kiln::bake {

namespace {

// Identifiers may have letters, digits, '.' and '-' (SPDX 2.3, 3.2); two names that become one get a number.
class Ids {
 public:
  std::string make(const std::string& text) {
    std::string id;
    for (const char c : text) id += std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' ? c : '-';
    std::string unique = id;
    for (int number = 2; !taken_.insert(unique).second; ++number) unique = fmt::format("{}-{}", id, number);
    return unique;
  }

 private:
  std::set<std::string> taken_;
};

// A part of a package URL: as RFC 3986, but ':' stays (purl-spec, "character encoding").
std::string purl_part(const std::string& text) {
  std::string encoded;
  for (const auto& piece : split(text, ':')) encoded += (encoded.empty() ? "" : ":") + percent_encode(piece);
  return encoded;
}

std::string pypi_purl(const std::string& name, const std::string& version) {
  // The type's own rule: small letters, '_' is '-'.
  std::string normal = to_lower(name);
  std::replace(normal.begin(), normal.end(), '_', '-');
  return fmt::format("pkg:pypi/{}@{}", purl_part(normal), purl_part(version));
}

std::string maven_purl(const std::string& group, const std::string& artifact, const std::string& version) {
  return fmt::format("pkg:maven/{}/{}@{}", purl_part(group), purl_part(artifact), purl_part(version));
}

// Of rpm's type the name keeps its letters, and the epoch stands apart (purl-spec, "rpm").
std::string rpm_purl(const Bill& bill, const DistributionPackage& package) {
  const auto [epoch, version] = split_rpm_version(package.version);
  std::string purl = "pkg:rpm/";
  if (!bill.os.id.empty()) purl += purl_part(to_lower(bill.os.id)) + "/";
  purl += fmt::format("{}@{}?arch={}", purl_part(package.name), purl_part(version), purl_part(package.architecture));
  if (!bill.os.id.empty() && !bill.os.version.empty()) purl += "&distro=" + purl_part(bill.os.id + "-" + bill.os.version);
  return epoch.empty() ? purl : purl + "&epoch=" + purl_part(epoch);
}

std::string package_purl(const Bill& bill, const DistributionPackage& package) {
  if (package.kind == "rpm") return rpm_purl(bill, package);
  std::string purl = fmt::format("pkg:{}/{}/{}@{}?arch={}", package.kind, bill.os.id.empty() ? "debian" : purl_part(bill.os.id),
                                 purl_part(to_lower(package.name)), purl_part(package.version), purl_part(package.architecture));
  const std::string& distro = bill.os.codename.empty() ? bill.os.version : bill.os.codename;
  return distro.empty() ? purl : purl + "&distro=" + purl_part(distro);
}

// Identifiers that a validator knows for sure; what a package says beyond them is left out.
std::string known_licence(const std::string& expression) {
  static const std::set<std::string> kKnown = {"0BSD",      "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
                                               "ISC",       "MIT",        "MPL-2.0",      "OFL-1.1",      "PSF-2.0", "Python-2.0",
                                               "Unlicense", "Zlib",       "OR",           "AND"};
  for (const auto& word : split(expression, ' ')) {
    if (kKnown.count(word) == 0) return {};
  }
  return expression;
}

// "numpy-2.2.6-cp313-….whl" and "pyspark-4.1.1.tar.gz" → name, version.
std::pair<std::string, std::string> python_file(const std::string& file) {
  std::string stem = file;
  for (const char* end : {".tar.gz", ".zip", ".whl"}) {
    if (stem.ends_with(end)) stem.resize(stem.size() - std::string_view(end).size());
  }
  if (file.ends_with(".whl")) {
    const auto parts = split(stem, '-');
    return parts.size() < 2 ? std::pair(stem, std::string()) : std::pair(parts[0], parts[1]);
  }
  const std::size_t dash = stem.rfind('-');
  return dash == std::string::npos ? std::pair(stem, std::string()) : std::pair(stem.substr(0, dash), stem.substr(dash + 1));
}

// Group, artifact, version, as the file was asked for; empty when it came because another needs it.
std::vector<std::string> coordinate_of(const BillSource& source, const SourceFile& file) {
  for (const auto& what : source.location.what) {
    const auto parts = split(what, ':');
    if (parts.size() >= 3 && file.path.starts_with(parts[1] + "-" + parts.back())) return {parts[0], parts[1], parts.back()};
  }
  return {"", "", ""};
}

bool is_url(const std::string& text) { return text.starts_with("https://") || text.starts_with("http://") || text.starts_with("ftp://"); }

// Where it is said to be, not which mirror happened to give it: the same image has the same bytes whoever was asked.
SbomItem source_item(const BillSource& source, const SourceFile& file) {
  using Kind = config::SourceLocation::Kind;
  SbomItem item;
  item.name = file.path;
  item.sha256 = file.sha256;
  if (source.location.kind == Kind::kPypi) {
    const auto [name, version] = python_file(file.path);
    item.name = name;
    item.version = version;
    item.purl = pypi_purl(name, version);
  } else if (source.location.kind == Kind::kMaven) {
    const auto parts = coordinate_of(source, file);
    if (!parts[0].empty()) {
      item.name = parts[0] + ":" + parts[1];
      item.version = parts[2];
      item.purl = maven_purl(parts[0], parts[1], parts[2]);
    }
  } else if (source.location.kind == Kind::kUrl) {
    item.url = without_credentials(source.location.what.at(0));
    item.purl =
        fmt::format("pkg:generic/{}?download_url={}&checksum=sha256:{}", purl_part(file.path), percent_encode(item.url), item.sha256);
  }
  return item;
}

// A git tree is one thing; of a folder of files each is one.
std::vector<SbomItem> source_items(const BillSource& source) {
  std::vector<SbomItem> items;
  const bool tree = source.location.kind == config::SourceLocation::Kind::kGit || source.record.files.empty();
  if (!tree) {
    for (const auto& file : source.record.files) items.push_back(source_item(source, file));
    return items;
  }
  SbomItem item;
  item.name = source.name;
  item.version = source.location.ref;
  const std::string what = without_credentials(source.location.what.at(0));
  if (is_url(what)) item.url = source.location.kind == config::SourceLocation::Kind::kGit ? "git+" + what : what;
  item.comment = fmt::format("{}; digest of the files: {}", source.record.from.empty() ? what : source.record.from, source.record.digest);
  items.push_back(std::move(item));
  return items;
}

// A file that Maven brought because another needs it, by what the same jar in the image says of itself.
void name_like_jar(SbomItem& item, const std::vector<JavaArchive>& jars) {
  if (!item.purl.empty() || !item.name.ends_with(".jar")) return;
  for (const auto& jar : jars) {
    if (jar.artifact.empty() || fs::path(jar.path).filename() != item.name) continue;
    item.name = jar.group + ":" + jar.artifact;
    item.version = jar.version;
    item.purl = maven_purl(jar.group, jar.artifact, jar.version);
    return;
  }
}

std::string params_words(const config::Values& params) {
  std::vector<std::string> words;
  for (const auto& [name, value] : params) words.push_back(name + "=" + value);
  return words.empty() ? std::string() : "baked with " + join(words, ", ");
}

}  // namespace

std::vector<SbomItem> sbom_items(const Bill& bill) {
  Ids ids;
  std::vector<SbomItem> items;
  const auto add = [&](const std::string& id, SbomItem item) {
    item.id = ids.make(id);
    items.push_back(std::move(item));
  };
  for (const auto& package : bill.packages) {
    SbomItem item;
    item.name = package.name;
    item.version = package.version;
    item.purl = package_purl(bill, package);
    item.licence = package.licence;
    if (package.source != package.name || package.source_version != package.version)
      item.comment = "built from source package " + package.source + " " + package.source_version;
    add(package.kind + "-" + package.name + "-" + package.architecture, std::move(item));
  }
  for (const auto& package : bill.python) {
    SbomItem item;
    item.name = package.name;
    item.version = package.version;
    item.purl = pypi_purl(package.name, package.version);
    item.licence = known_licence(package.licence);
    item.comment = "/" + package.path;
    add("python-" + package.name, std::move(item));
  }
  for (const auto& jar : bill.jars) {
    SbomItem item;
    item.name = jar.artifact.empty() ? std::string(fs::path(jar.path).filename()) : jar.group + ":" + jar.artifact;
    item.version = jar.version;
    if (!jar.artifact.empty()) item.purl = maven_purl(jar.group, jar.artifact, jar.version);
    item.comment = "/" + jar.path;
    add("jar-" + fs::path(jar.path).stem().native(), std::move(item));
  }
  SbomItem agent;
  agent.name = "kiln-node";
  agent.version = KILN_VERSION;
  agent.sha256 = bill.agent_digest;
  agent.comment = "/usr/lib/kiln/kiln-node";
  agent.library = false;
  add("kiln-node", std::move(agent));
  for (const auto& module : bill.modules) {
    SbomItem item;
    item.name = module.name;
    if (const auto version = module.params.find("version"); version != module.params.end()) item.version = version->second;
    item.comment = params_words(module.params);
    item.library = false;
    add("module-" + module.name, std::move(item));
    const std::string module_id = items.back().id;
    for (const auto& source : module.sources) {
      for (auto& part : source_items(source)) {
        name_like_jar(part, bill.jars);
        part.part_of = module_id;
        const std::string id = fmt::format("source-{}-{}-{}", module.name, source.name, part.name);
        add(id, std::move(part));
      }
    }
  }
  return items;
}

fs::path write_sbom_beside(const Store& store, const Image& image, const fs::path& artifact) {
  const fs::path file = artifact.native() + ".spdx.json";
  write_file_atomically(file, spdx_text(bill_of(store, image)));
  return file;
}

std::string bill_comment(const Bill& bill) {
  std::vector<std::string> words;
  if (!bill.privileged.empty()) words.push_back("files that run as their owner or group: " + join(privileged_words(bill), ", "));
  if (bill.unread_packages) words.push_back("not listed are the packages of its rpm database: nothing in the image can read it");
  return join(words, "; ");
}

std::vector<std::string> privileged_words(const Bill& bill) {
  std::vector<std::string> words;
  for (const auto& file : bill.privileged) words.push_back(fmt::format("/{} ({:o}, {}:{})", file.path, file.mode, file.uid, file.gid));
  return words;
}

std::string sbom_time(const Bill& bill) {
  const std::time_t time = bill.epoch;
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string uuid_of(const std::string& text) {
  std::string hex = sha256_hex(text).substr(0, 32);
  hex[12] = '8';
  hex[16] = '8';
  for (const std::size_t at : {20, 16, 12, 8}) hex.insert(at, "-");
  return hex;
}

const std::vector<SbomFormat>& sbom_formats() {
  static const std::vector<SbomFormat> kFormats = {{"spdx", spdx_text}, {"cyclonedx", cyclonedx_text}};
  return kFormats;
}

}  // namespace kiln::bake
