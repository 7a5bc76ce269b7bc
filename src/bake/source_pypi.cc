// pypi: which file of the Python package index "name==version" means for an image's Python.
// The index is spoken to as PEP 503 (HTML) and PEP 691 (JSON) say; which wheel fits is PEP 425 and PEP 600.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <set>
#include <tuple>

#include "bake/source_kinds.h"
#include "base/error.h"
#include "base/json.h"
#include "base/process.h"
#include "base/strings.h"

namespace kiln::bake {

namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// PEP 503: runs of -, _ and . are one '-', letters small.
std::string normalise_name(const std::string& name) {
  std::string normal;
  for (const char c : lower(name)) {
    const bool separator = c == '-' || c == '_' || c == '.';
    if (!separator)
      normal += c;
    else if (normal.empty() || normal.back() != '-')
      normal += '-';
  }
  return normal;
}

// As far as equality needs it: "v1.0-RC1" and "1.0rc1" are the same, and so are "1.0" and "1.0.0".
std::string normalise_version(std::string version) {
  version = lower(version);
  if (version.starts_with('v')) version.erase(0, 1);
  std::string normal;
  for (std::size_t i = 0; i < version.size(); ++i) {
    const char c = version[i];
    // A separator before or after letters means nothing, except before local parts and between numbers.
    if ((c == '-' || c == '_' || c == '.') && i + 1 < version.size() && std::isalpha(static_cast<unsigned char>(version[i + 1])) != 0) {
      if (version.compare(i + 1, 4, "post") == 0 || version.compare(i + 1, 3, "dev") == 0) normal += '.';
      continue;
    }
    normal += c == '_' ? '-' : c;
  }
  std::size_t end = normal.find_first_not_of("0123456789.");
  if (end == std::string::npos) end = normal.size();
  std::size_t release = end;
  while (release >= 2 && normal.compare(release - 2, 2, ".0") == 0) release -= 2;
  return normal.substr(0, release) + normal.substr(end);
}

std::vector<int> numbers_of(std::string_view version) {
  std::vector<int> numbers;
  for (const auto& part : split(version, '.')) {
    int number = 0;
    std::from_chars(part.data(), part.data() + part.size(), number);
    numbers.push_back(number);
  }
  return numbers;
}

// data-requires-python: ">=3.9,!=3.10.*,<4". Clauses of forms that we don't know are taken as met.
bool python_meets(const std::string& specifier, const std::string& python_version) {
  const std::vector<int> ours = numbers_of(python_version);
  for (const auto& raw : split(specifier, ',')) {
    const std::string clause(trim(raw));
    const std::size_t digits = clause.find_first_of("0123456789");
    if (digits == std::string::npos) continue;
    const std::string op(trim(std::string_view(clause).substr(0, digits)));
    std::string version = clause.substr(digits);
    const bool prefix = version.ends_with(".*");
    if (prefix) version.resize(version.size() - 2);
    std::vector<int> theirs = numbers_of(version), mine = ours;
    // We know 3.13, not 3.13.5: compare as far as both go ("<=3.13.2" is met, ">3.13.2" too: pip would know better, we don't refuse).
    const std::size_t common = std::min(theirs.size(), mine.size());
    const std::size_t full_theirs = theirs.size();
    theirs.resize(common);
    mine.resize(common);
    const bool exact = full_theirs <= ours.size();
    if (op == ">=" && mine < theirs) return false;
    if (op == ">" && (exact ? mine <= theirs && !(mine == theirs && full_theirs < ours.size()) : mine < theirs)) return false;
    if (op == "<" && (exact ? mine >= theirs : mine > theirs)) return false;
    if (op == "<=" && mine > theirs) return false;
    if (op == "==" && mine != theirs) return false;
    if (op == "!=" && prefix && mine == theirs) return false;
    if (op == "~=" && (mine < theirs || (!theirs.empty() && !mine.empty() && mine[0] != theirs[0]))) return false;
  }
  return true;
}

std::string unescape_html(std::string text) {
  static const std::pair<const char*, const char*> kEntities[] = {{"&gt;", ">"},  {"&lt;", "<"},   {"&quot;", "\""},
                                                                  {"&#39;", "'"}, {"&#x27;", "'"}, {"&amp;", "&"}};
  for (const auto& [entity, character] : kEntities) {
    for (std::size_t at; (at = text.find(entity)) != std::string::npos;) text.replace(at, std::string_view(entity).size(), character);
  }
  return text;
}

std::string unescape_url(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() && std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ec == std::errc()) {
      plain += static_cast<char>(value);
      i += 2;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// RFC 3986's reference resolution, for the forms that index pages use.
std::string resolve_url(const std::string& base, const std::string& reference) {
  if (reference.find("://") != std::string::npos) return reference;
  const std::size_t scheme = base.find("://");
  if (scheme == std::string::npos) return reference;
  if (reference.starts_with("//")) return base.substr(0, scheme + 1) + reference;
  const std::size_t path_start = std::min(base.find('/', scheme + 3), base.size());
  const std::string root = base.substr(0, path_start);
  if (reference.starts_with('/')) return root + reference;
  const std::string path = base.substr(path_start, base.find_first_of("?#", path_start) - path_start);
  std::vector<std::string> parts;
  for (const auto& part : split(path.substr(0, path.rfind('/') + 1) + reference, '/')) {
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (part != "." && !part.empty()) {
      parts.push_back(part);
    }
  }
  return root + "/" + join(parts, "/");
}

std::optional<std::string> attribute(const std::string& tag, const std::string& name) {
  for (std::size_t at = 0; (at = lower(tag).find(name, at)) != std::string::npos; ++at) {
    if (at == 0 || std::isspace(static_cast<unsigned char>(tag[at - 1])) == 0) continue;
    std::size_t next = tag.find_first_not_of(" \t\r\n", at + name.size());
    if (next == std::string::npos || tag[next] != '=') {
      if (next == std::string::npos || std::isspace(static_cast<unsigned char>(tag[at + name.size()])) != 0) return std::string();
      continue;
    }
    next = tag.find_first_not_of(" \t\r\n", next + 1);
    if (next == std::string::npos) return std::string();
    const char quote = tag[next];
    if (quote != '"' && quote != '\'') return unescape_html(tag.substr(next, tag.find_first_of(" \t\r\n>", next) - next));
    const std::size_t end = tag.find(quote, next + 1);
    return unescape_html(tag.substr(next + 1, end == std::string::npos ? end : end - next - 1));
  }
  return std::nullopt;
}

std::vector<IndexFile> parse_html(const std::string& body, const std::string& page_url) {
  std::string base = page_url;
  std::vector<IndexFile> files;
  for (std::size_t at = 0; (at = body.find('<', at)) != std::string::npos;) {
    // The tag's end, not a '>' inside quotes.
    std::size_t end = at + 1;
    for (char quote = 0; end < body.size() && (quote != 0 || body[end] != '>'); ++end) {
      if (quote != 0)
        quote = body[end] == quote ? '\0' : quote;
      else if (body[end] == '"' || body[end] == '\'')
        quote = body[end];
    }
    const std::string tag = body.substr(at + 1, end - at - 1);
    at = end;
    const std::string kind = lower(tag.substr(0, tag.find_first_of(" \t\r\n/")));
    const auto href = attribute(tag, "href");
    if (kind == "base" && href) base = resolve_url(page_url, *href);
    if (kind != "a" || !href) continue;
    IndexFile file;
    const std::size_t hash = href->find('#');
    file.url = resolve_url(base, href->substr(0, hash));
    if (hash != std::string::npos) {
      const std::string fragment = href->substr(hash + 1);
      if (const std::size_t digest = fragment.find("sha256="); digest != std::string::npos)
        file.sha256 = lower(fragment.substr(digest + 7, 64));
    }
    const std::string path = file.url.substr(0, file.url.find('?'));
    file.name = unescape_url(path.substr(path.rfind('/') + 1));
    file.requires_python = attribute(tag, "data-requires-python").value_or("");
    file.yanked = attribute(tag, "data-yanked").has_value();
    files.push_back(std::move(file));
  }
  return files;
}

std::vector<IndexFile> parse_json(const std::string& body, const std::string& page_url) {
  const Json page = Json::parse(body, nullptr, false);
  if (!page.is_object() || !page.contains("files") || !page["files"].is_array()) fail("the index's answer is no list of files");
  std::vector<IndexFile> files;
  for (const auto& entry : page["files"]) {
    IndexFile file;
    file.name = entry.value("filename", "");
    file.url = resolve_url(page_url, entry.value("url", ""));
    if (const auto hashes = entry.find("hashes"); hashes != entry.end() && hashes->is_object()) file.sha256 = hashes->value("sha256", "");
    if (const auto python = entry.find("requires-python"); python != entry.end() && python->is_string())
      file.requires_python = python->get<std::string>();
    if (const auto yanked = entry.find("yanked"); yanked != entry.end()) file.yanked = yanked->is_string() || *yanked == true;
    files.push_back(std::move(file));
  }
  return files;
}

struct FileName {
  std::string project, version;
  bool sdist = false;
  std::string python, abi, platform;  // a wheel's tags, each '.'-separated
};

// Nothing for what is neither wheel nor source distribution (eggs, installers).
std::optional<FileName> parse_file_name(const std::string& name, const std::string& project) {
  if (name.ends_with(".whl")) {
    const auto parts = split(std::string_view(name).substr(0, name.size() - 4), '-');
    if (parts.size() < 5) return std::nullopt;
    return FileName{parts[0], parts[1], false, parts[parts.size() - 3], parts[parts.size() - 2], parts[parts.size() - 1]};
  }
  for (const std::string_view ending : {".tar.gz", ".zip", ".tar.bz2", ".tgz"}) {
    if (!name.ends_with(ending)) continue;
    const std::string stem = name.substr(0, name.size() - ending.size());
    // Old names have '-' in the project part too: the split is where the project's name is complete.
    for (std::size_t dash = stem.find('-'); dash != std::string::npos; dash = stem.find('-', dash + 1)) {
      if (normalise_name(stem.substr(0, dash)) == project) return FileName{stem.substr(0, dash), stem.substr(dash + 1), true, {}, {}, {}};
    }
  }
  return std::nullopt;
}

// The C library of the oldest suite that has this Python (Debian 11: 3.9, 2.31; Ubuntu 22.04: 3.10, 2.35; Debian 12: 3.11, 2.36;
// Ubuntu 24.04: 3.12, 2.39; Debian 13: 3.13, 2.41): a wheel built for a newer one does not load.
int glibc_minor_of(int python_minor) {
  if (python_minor <= 9) return 31;
  if (python_minor == 10) return 35;
  if (python_minor == 11) return 36;
  if (python_minor == 12) return 39;
  return 41;
}

// How well a platform tag fits: 0 not at all, else the more specific the higher.
int platform_fit(const std::string& tag, const std::string& machine, int glibc_minor) {
  if (tag == "any") return 1;
  const std::string suffix = "_" + machine;
  if (!tag.ends_with(suffix)) return 0;
  const std::string kind = tag.substr(0, tag.size() - suffix.size());
  int minor = -1;
  if (kind == "manylinux1")
    minor = 5;
  else if (kind == "manylinux2010")
    minor = 12;
  else if (kind == "manylinux2014")
    minor = 17;
  else if (kind.starts_with("manylinux_2_"))
    minor = numbers_of(std::string_view(kind).substr(12)).front();
  else if (kind == "linux")
    minor = 0;
  return minor < 0 || minor > glibc_minor ? 0 : 2 + minor;
}

// (python and abi, platform): the greatest is the best; nothing: it does not fit.
std::optional<std::pair<int, int>> wheel_fit(const FileName& name, const PythonTarget& target) {
  const auto version = numbers_of(target.python_version);
  const int minor = version.size() > 1 ? version[1] : 0;
  const std::string machine = target.architecture == "arm64" ? "aarch64" : target.architecture == "amd64" ? "x86_64" : target.architecture;
  int platform = 0;
  for (const auto& tag : split(name.platform, '.')) platform = std::max(platform, platform_fit(tag, machine, glibc_minor_of(minor)));
  if (platform == 0) return std::nullopt;

  const std::string ours = fmt::format("cp3{}", minor);
  const auto abis = split(name.abi, '.');
  const auto has_abi = [&](const std::string& abi) { return std::find(abis.begin(), abis.end(), abi) != abis.end(); };
  int best = 0;
  for (const auto& python : split(name.python, '.')) {
    int older = -1;
    if (python.starts_with("cp3") || python.starts_with("py3"))
      older = python.size() == 3 ? 0 : numbers_of(std::string_view(python).substr(3)).front();
    if (older < 0 || older > minor) continue;
    if (python == ours && has_abi(ours))
      best = std::max(best, 400);
    else if (python.starts_with("cp3") && has_abi("abi3"))
      best = std::max(best, 200 + older);
    else if (python == ours && has_abi("none"))
      best = std::max(best, 199);
    else if (python.starts_with("py3") && has_abi("none"))
      best = std::max(best, 100 + older);
  }
  if (best == 0) return std::nullopt;
  return std::make_pair(best, platform);
}

std::string index_url() {
  if (const char* url = std::getenv("PIP_INDEX_URL"); url != nullptr && *url != '\0') return url;
  for (const char* pip : {"pip3", "pip"}) {
    if (!find_program(pip)) continue;
    ProcessOptions options;
    options.timeout = std::chrono::seconds(120);
    const auto result = run({pip, "config", "get", "global.index-url"}, options);
    if (result.ok() && !trim(result.output).empty()) return std::string(trim(result.output));
    break;
  }
  return "https://pypi.org/simple";
}

std::pair<std::string, std::string> split_requirement(const std::string& requirement) {
  const std::size_t equals = requirement.find("==");
  std::string project(trim(std::string_view(requirement).substr(0, std::min(equals, requirement.size()))));
  std::string version(equals == std::string::npos ? "" : trim(std::string_view(requirement).substr(equals + 2)));
  if (project.empty() || version.empty() || version.find_first_of("*, ;<>=") != std::string::npos ||
      project.find_first_of(" [<>~!/") != std::string::npos) {
    throw UsageError(fmt::format("'{}' does not name one release: write it as name==version", requirement));
  }
  return {project, version};
}

}  // namespace

std::vector<IndexFile> parse_index(const std::string& body, const std::string& content_type, const std::string& page_url) {
  return content_type.find("json") != std::string::npos ? parse_json(body, page_url) : parse_html(body, page_url);
}

IndexFile choose_file(const std::vector<IndexFile>& files, const std::string& requirement, bool sdist, const PythonTarget& target) {
  const auto [project, version] = split_requirement(requirement);
  const std::string wanted = normalise_version(version);
  const IndexFile* best = nullptr;
  std::tuple<bool, int, int, std::string> best_fit;
  std::vector<std::string> versions, refused;
  for (const auto& file : files) {
    const auto name = parse_file_name(file.name, normalise_name(project));
    if (!name || normalise_name(name->project) != normalise_name(project)) continue;
    if (normalise_version(name->version) != wanted) {
      if (!file.yanked && (versions.empty() || versions.back() != name->version)) versions.push_back(name->version);
      continue;
    }
    if (!file.requires_python.empty() && !python_meets(file.requires_python, target.python_version)) {
      refused.push_back(file.name + " (needs Python " + file.requires_python + ")");
      continue;
    }
    std::pair<int, int> fit{0, file.name.ends_with(".tar.gz") ? 1 : 0};
    if (!name->sdist) {
      const auto found = wheel_fit(*name, target);
      if (found) fit = *found;
      if (!found || sdist) {
        refused.push_back(file.name);
        continue;
      }
    } else if (!sdist) {
      refused.push_back(file.name + " (the source distribution)");
      continue;
    }
    // Yanked files are taken only when nothing else is there: an exact version was asked for (PEP 592). Names break ties, for order's sake.
    const std::tuple<bool, int, int, std::string> this_fit{!file.yanked, fit.first, fit.second, file.name};
    if (best == nullptr || this_fit > best_fit) {
      best = &file;
      best_fit = this_fit;
    }
  }
  if (best == nullptr && refused.empty()) {
    std::sort(versions.begin(), versions.end(), [](const std::string& a, const std::string& b) { return numbers_of(a) < numbers_of(b); });
    versions.erase(std::unique(versions.begin(), versions.end()), versions.end());
    if (versions.size() > 8) versions.erase(versions.begin(), versions.end() - 8);
    fail("the index has no {} {} (the newest it has: {})", project, version, versions.empty() ? "none" : join(versions, ", "));
  }
  if (best == nullptr) {
    const std::size_t more = refused.size() > 4 ? refused.size() - 4 : 0;
    refused.resize(refused.size() - more);
    Error error(fmt::format("{} {} has no {} for Python {} on {}; there are: {}{}", project, version,
                            sdist ? "source distribution" : "wheel", target.python_version, target.architecture, join(refused, ", "),
                            more > 0 ? fmt::format(" and {} more", more) : ""));
    if (!sdist) error.set_hint("`sdist: true` takes the source distribution");
    throw error;
  }
  if (best->sha256.size() != 64) fail("the index gives no SHA-256 for '{}'", best->name);
  if (best->name.find('/') != std::string::npos || best->name.starts_with('.')) fail("the index gives a file the name '{}'", best->name);
  return *best;
}

Download find_on_index(const std::string& requirement, bool sdist, const PythonTarget& target, const HttpOptions& http) {
  const auto [project, version] = split_requirement(requirement);
  std::string url = index_url();
  while (url.ends_with('/')) url.pop_back();
  url += "/" + normalise_name(project) + "/";
  const HttpDocument page =
      http_get(url, {{"Accept", "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"}}, http);
  const IndexFile file = with_context("reading the index page '" + without_credentials(url) + "'", [&] {
    return choose_file(parse_index(page.body, page.content_type, page.url), requirement, sdist, target);
  });
  return {file.url, file.name, file.sha256, ""};
}

}  // namespace kiln::bake
