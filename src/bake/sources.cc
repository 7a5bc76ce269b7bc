#include "bake/sources.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "bake/source_kinds.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "oci/registry.h"

namespace kiln::bake {

namespace {

using config::SourceLocation;

constexpr const char* kKindNames[] = {"url", "pypi", "maven", "git", "file", "oci"};

std::string describe(const SourceLocation& location) {
  std::vector<std::string> what;
  for (const auto& text : location.what) what.push_back(without_credentials(text));
  std::string text = std::string(kKindNames[static_cast<int>(location.kind)]) + ": " + join(what, ", ");
  if (!location.ref.empty()) text += " at " + location.ref;
  return text;
}

Json location_to_json(const SourceLocation& location) {
  return {{"kind", kKindNames[static_cast<int>(location.kind)]},
          {"what", location.what},
          {"sha256", location.sha256},
          {"sha512", location.sha512},
          {"ref", location.ref},
          {"sdist", location.sdist},
          {"transitive", location.transitive}};
}

std::string record_key(const SourceRequest& request) {
  Json key = {{"format", 1}, {"locations", Json::array()}};
  for (const auto& location : request.spec.mirrors) {
    key["locations"].push_back(location_to_json(location));
    if (location.kind == SourceLocation::Kind::kPypi && !location.sdist)
      key["python"] = request.python_version + " " + request.architecture;
    if (location.kind == SourceLocation::Kind::kOci) key["architecture"] = request.architecture;
  }
  return sha256_hex(key.dump());
}

// A base's source belongs to no module.
std::string title(const SourceRequest& request) { return (request.module.empty() ? "base" : request.module) + "/" + request.spec.name; }
std::string words_for(const SourceRequest& request) {
  if (request.module.empty()) return fmt::format("the base's {}", request.spec.name);
  return fmt::format("source '{}' of module '{}'", request.spec.name, request.module);
}

fs::path file_location(const SourceRequest& request, const SourceLocation& location) { return request.module_folder / location.what.at(0); }

// Files lie on this machine and may change any time: they are looked at anew, and never recorded.
bool is_local(const SourceRequest& request) {
  const auto& mirrors = request.spec.mirrors;
  if (!mirrors.empty() && mirrors[0].kind == SourceLocation::Kind::kOci) return is_layout(mirrors[0]);
  return !mirrors.empty() && mirrors[0].kind == SourceLocation::Kind::kFile && fs::exists(file_location(request, mirrors[0]));
}

SourceRecord record_of_file(const SourceFile& file) { return {file.sha256, false, file.path, file.from, {file}}; }

SourceRecord record_of_local(const SourceRequest& request, const SourceLocation& location) {
  const fs::path path = file_location(request, location);
  if (!fs::exists(path)) fail("there is no '{}'", path.native());
  if (!fs::is_regular_file(path)) fail("'{}' is no file", path.native());
  const std::string digest = sha256_hex_of_file(path);
  if (!location.sha256.empty() && digest != location.sha256)
    fail("'{}' has the SHA-256 {}, not {}", path.native(), digest, location.sha256);
  if (!location.sha512.empty() && sha512_hex_of_file(path) != location.sha512)
    fail("'{}' does not have the SHA-512 {}", path.native(), location.sha512);
  return record_of_file({path.filename(), digest, describe(location)});
}

// The folder in a work folder becomes sources/tree/DIGEST.
SourceRecord keep_tree(const Store& store, const fs::path& folder, const std::string& from,
                       const std::map<std::string, std::string>& origins) {
  SourceRecord record;
  record.folder = true;
  record.from = from;
  record.files = normalise_tree(folder);
  for (auto& file : record.files) {
    if (const auto origin = origins.find(file.path); origin != origins.end()) file.from = origin->second;
  }
  record.digest = digest_of_list(folder, record.files);
  const fs::path target = store.folder("sources/tree") / record.digest;
  if (!fs::exists(target) && ::rename(folder.c_str(), target.c_str()) != 0 && errno != ENOTEMPTY && errno != EEXIST) {
    fail("cannot put '{}' into the store: {}", target.native(), errno_text(errno));
  }
  return record;
}

}  // namespace

Json SourceRecord::to_json() const {
  Json list = Json::array();
  for (const auto& file : files) list.push_back({{"path", file.path}, {"sha256", file.sha256}, {"from", file.from}});
  return {{"digest", digest}, {"folder", folder}, {"name", name}, {"from", from}, {"files", list}};
}

SourceRecord SourceRecord::from_json(const Json& json) {
  SourceRecord record{json.at("digest"), json.at("folder"), json.at("name"), json.at("from"), {}};
  for (const auto& file : json.at("files")) record.files.push_back({file.at("path"), file.at("sha256"), file.at("from")});
  return record;
}

std::optional<SourceRecord> Sources::find(const SourceRequest& request) const {
  if (is_local(request)) {
    return with_context("looking at " + words_for(request), [&] {
      const auto& location = request.spec.mirrors[0];
      return location.kind == SourceLocation::Kind::kOci ? look_at_layout(location, request.architecture)
                                                         : record_of_local(request, location);
    });
  }
  const auto text = read_file_if_there(store_.home() / "sources/index" / (record_key(request) + ".json"));
  if (!text) return std::nullopt;
  try {
    return SourceRecord::from_json(Json::parse(*text));
  } catch (const Json::exception&) {
    return std::nullopt;  // damaged: it is fetched again
  }
}

fs::path Sources::path_of(const SourceRecord& record) const {
  return store_.home() / "sources" / (record.folder ? "tree" : "sha256") / record.digest;
}

bool Sources::is_cached(const SourceRecord& record) const {
  if (record.folder) return fs::exists(path_of(record));
  // An image is several.
  return fs::exists(path_of(record)) && std::all_of(record.files.begin(), record.files.end(), [&](const SourceFile& file) {
           return fs::exists(store_.home() / "sources/sha256" / file.sha256);
         });
}

SourceRecord Sources::fetch_from(const SourceRequest& request, const SourceLocation& location, const ByteProgress& on_progress) const {
  const std::string from = describe(location);
  switch (location.kind) {
    case SourceLocation::Kind::kUrl: {
      return record_of_file(fetch_download(store_, {location.what.at(0), "", location.sha256, location.sha512}, http_, on_progress));
    }
    case SourceLocation::Kind::kPypi: {
      std::vector<SourceFile> files;
      for (const auto& requirement : location.what) {
        const Download download = find_on_index(requirement, location.sdist, {request.python_version, request.architecture}, http_);
        files.push_back(fetch_download(store_, download, http_, on_progress));
      }
      if (files.size() == 1) return record_of_file(files[0]);
      const WorkFolder work = store_.make_work_folder();
      const fs::path folder = work.path() / "tree";
      make_folder(folder);
      std::map<std::string, std::string> origins;
      for (const auto& file : files) {
        fs::create_hard_link(store_.home() / "sources/sha256" / file.sha256, folder / file.path);
        origins[file.path] = file.from;
      }
      return keep_tree(store_, folder, from, origins);
    }
    case SourceLocation::Kind::kMaven: {
      const WorkFolder work = store_.make_work_folder();
      fetch_maven(store_, location, work.path() / "tree");
      return keep_tree(store_, work.path() / "tree", from, {});
    }
    case SourceLocation::Kind::kGit: {
      const WorkFolder work = store_.make_work_folder();
      const std::string commit = fetch_git(location, work.path(), work.path() / "tree");
      return keep_tree(store_, work.path() / "tree", from + " (" + commit + ")", {});
    }
    case SourceLocation::Kind::kOci:
      return fetch_oci(store_, location, request.architecture, http_, on_progress);
    case SourceLocation::Kind::kFile: {
      const SourceRecord record = record_of_local(request, location);
      const WorkFolder work = store_.make_work_folder();
      fs::copy_file(file_location(request, location), work.path() / "file");
      ::chmod((work.path() / "file").c_str(), 0644);
      const fs::path target = store_.folder("sources/sha256") / record.digest;
      if (::rename((work.path() / "file").c_str(), target.c_str()) != 0)
        fail("cannot put '{}' into the store: {}", target.native(), errno_text(errno));
      return record;
    }
  }
  fail("source '{}' has a location of an unknown kind", request.spec.name);
}

SourceRecord Sources::fetch(const SourceRequest& request, bool again) const {
  // A wrong setting is the user's, and no fault of a location.
  if (std::any_of(request.spec.mirrors.begin(), request.spec.mirrors.end(), is_in_registry)) oci::silence_limit();
  const std::string key = record_key(request);
  const FileLock lock = store_.lock("source-" + key, "the source " + title(request));
  if (const auto record = find(request); record && is_cached(*record) && !again) return *record;  // the one we waited for has made it

  Activity activity("source " + title(request));
  const auto on_progress = [&, last = 0.0](std::int64_t done, std::int64_t total) mutable {
    const double now = now_in_seconds();
    if (now - last < 0.1 && done != total) return;
    last = now;
    activity.progress({{"done", done}, {"total", total}});
  };

  std::vector<std::string> failures;
  std::string hint;
  for (const auto& location : request.spec.mirrors) {
    try {
      const SourceRecord record = fetch_from(request, location, on_progress);
      if (location.kind != SourceLocation::Kind::kFile && !is_layout(location)) {
        Json json = record.to_json();
        json["source"] = title(request);
        write_file_atomically(store_.folder("sources/index") / (key + ".json"), json.dump(1) + "\n");
      }
      std::int64_t size_bytes = 0;
      if (!record.folder) size_bytes = static_cast<std::int64_t>(fs::file_size(path_of(record)));
      activity.finish({{"digest", record.digest}, {"files", record.files.size()}, {"size_bytes", size_bytes}});
      return record;
    } catch (const Interrupted&) {
      throw;
    } catch (const std::exception& error) {
      const auto* known = dynamic_cast<const Error*>(&error);
      failures.push_back(describe(location) + ": " + (known != nullptr ? known->message() : error.what()));
      if (known != nullptr && !known->hint_text().empty()) hint = known->hint_text();
      if (failures.size() < request.spec.mirrors.size())
        say(fmt::format("source {}: {}; trying the next location", title(request), failures.back()));
    }
  }
  Error error(fmt::format("cannot fetch {}:\n  {}", words_for(request), join(failures, "\n  ")));
  error.set_hint(hint);
  throw error;
}

std::string commit_of(const std::string& from) {
  const std::size_t bracket = from.rfind(" (");
  if (!from.starts_with("git: ") || bracket == std::string::npos || !from.ends_with(')')) return {};
  return from.substr(bracket + 2, from.size() - bracket - 3);
}

namespace {

// Where both came from parameters, only now can be told what is wrong with them.
void check_git(const config::SourceSpec& written, std::size_t mirror, const SourceLocation& location) {
  const auto complain = [](const std::string& what, const std::string& template_text, const std::string& hint) {
    const auto names = config::placeholders(template_text);
    UsageError error(what + (names.empty() ? "" : fmt::format(" (parameter '{}')", join(names, "', '"))));
    error.set_hint(hint);
    throw error;
  };
  const SourceLocation& before = written.mirrors[mirror];
  if (location.ref.empty()) complain("it says no commit, tag or branch", before.ref, "name one; a commit's hash is the same for ever");
  if (location.ref[0] == '-' || location.ref.find_first_of(" \t\n") != std::string::npos)
    complain(config::in_quotes(location.ref) + " is no commit, tag or branch", before.ref, "");
  const std::string& url = location.what.at(0);
  static constexpr const char* kTransports[] = {"https://", "http://", "ssh://", "git://", "file:///"};
  const bool known = std::any_of(std::begin(kTransports), std::end(kTransports), [&](const char* start) { return url.starts_with(start); });
  if (!known || url.find_first_of(" \t\n") != std::string::npos)
    complain(config::in_quotes(url) + " is no URL of a git repository", before.what.at(0), "https://…, ssh://…, git://… or file:///…");
}

}  // namespace

std::vector<SourceRequest> source_requests(const config::Module& module, const config::Values& values) {
  const auto value_of = [&](const char* name) {
    const auto it = values.find(name);
    return it == values.end() ? std::string() : it->second;
  };
  std::vector<SourceRequest> requests;
  for (const auto& source : module.sources) {
    SourceRequest request{module.name, source, module.folder, value_of("python_version"), value_of("arch")};
    with_context("filling in source '" + source.name + "' of module '" + module.name + "'", [&] {
      config::SourceSpec written = source;
      std::erase_if(written.mirrors, [&](const auto& location) { return !config::holds(location.condition, values); });
      request.spec = written;
      for (std::size_t i = 0; i < written.mirrors.size(); ++i) {
        auto& location = request.spec.mirrors[i];
        for (auto& text : location.what) text = config::expand(text, values);
        location.sha256 = config::expand(location.sha256, values);
        location.sha512 = config::expand(location.sha512, values);
        location.ref = config::expand(location.ref, values);
        if (location.kind == SourceLocation::Kind::kGit) check_git(written, i, location);
      }
    });
    if (!request.spec.mirrors.empty()) requests.push_back(std::move(request));
  }
  return requests;
}

MountedSource mounted_source(const Sources& sources, const std::string& name, const SourceRecord& record) {
  const fs::path target = fs::path("/run/kiln/sources") / name;
  return {name, sources.path_of(record), record.folder ? target : target / record.name};
}

}  // namespace kiln::bake
