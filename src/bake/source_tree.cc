// maven and git: each fills a folder by the tool that knows how, and what counts is the content it gave.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "bake/source_kinds.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/process.h"
#include "base/strings.h"

namespace kiln::bake {

namespace {

// group:artifact:version, group:artifact:type:version or group:artifact:type:classifier:version, as Maven itself writes them.
std::string pom_dependency(const std::string& coordinate) {
  const auto parts = split(coordinate, ':');
  if (parts.size() < 3 || parts.size() > 5) fail("'{}' is no Maven coordinate (group:artifact:version)", coordinate);
  std::string xml = "<dependency>";
  const auto element = [&](const char* name, const std::string& value) {
    xml += fmt::format("<{}>{}</{}>", name, escape_xml(value), name);
  };
  element("groupId", parts[0]);
  element("artifactId", parts[1]);
  if (parts.size() > 3) element("type", parts[2]);
  if (parts.size() > 4) element("classifier", parts[3]);
  element("version", parts.back());
  return xml + "</dependency>\n";
}

void need(const char* program, const char* package) {
  if (find_program(program)) return;
  Error error(fmt::format("'{}' is not installed", program));
  error.set_hint(fmt::format("sudo apt-get install {}", package));
  throw error;
}

}  // namespace

void fetch_maven(const Store& store, const config::SourceLocation& location, const fs::path& folder) {
  need("mvn", "maven");
  const fs::path project = folder.parent_path() / "project";
  make_folder(project);
  make_folder(folder);
  std::string pom =
      "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n"
      "<groupId>kiln</groupId><artifactId>sources</artifactId><version>1</version><packaging>pom</packaging>\n<dependencies>\n";
  for (const auto& coordinate : location.what) pom += pom_dependency(coordinate);
  write_file_atomically(project / "pom.xml", pom + "</dependencies>\n</project>\n");

  // Maven 3's local repository is not made for several Mavens at a time.
  const FileLock alone = store.lock("maven", "a Maven download");
  ProcessOptions options;
  options.directory = project;
  const auto result =
      run({"mvn", "-q", "-B", "-f", (project / "pom.xml").native(), "dependency:copy-dependencies", "-DoutputDirectory=" + folder.native(),
           "-DincludeScope=runtime", fmt::format("-DexcludeTransitive={}", !location.transitive)},
          options);
  if (!result.ok()) {
    // Maven says an error once in words, then again with advice: the first lines are the words.
    std::vector<std::string> words;
    for (const auto& line : split(result.output + result.error, '\n')) {
      if (line.starts_with("[ERROR]") && words.size() < 3) words.emplace_back(trim(std::string_view(line).substr(7)));
    }
    fail("Maven failed (exit code {}): {}", result.exit_code,
         words.empty() ? std::string(trim(result.output + result.error)) : join(words, "\n    "));
  }
  if (fs::is_empty(folder)) fail("Maven gave no files");
}

std::string fetch_git(const config::SourceLocation& location, const fs::path& scratch, const fs::path& folder) {
  need("git", "git");
  const std::string& url = location.what.at(0);
  const std::string ref = location.ref.empty() ? "HEAD" : location.ref;
  if (url.starts_with("-") || ref.starts_with("-"))
    fail("'{}' is no git {}", url.starts_with("-") ? url : ref, url.starts_with("-") ? "URL" : "ref");

  // The user's own configuration may name proxies and credentials, and stays; questions and hooks do not.
  const std::string repository = (scratch / "git").native();
  ProcessOptions options;
  options.extra_environment = {{"GIT_TERMINAL_PROMPT", "0"}, {"GIT_LFS_SKIP_SMUDGE", "0"}, {"GIT_DIR", repository}};
  const auto git = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {"git", "-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false", "-c", "advice.detachedHead=false"});
    return run(arguments, options);
  };
  if (const auto result = git({"init", "-q", "--bare", repository}); !result.ok()) fail("git init failed: {}", trim(result.error));

  // A branch or tag at depth 1; a commit so too where the server allows it, else by fetching everything.
  std::string wanted = "FETCH_HEAD";
  auto fetched = git({"fetch", "-q", "--depth", "1", "--no-tags", url, ref});
  if (!fetched.ok()) {
    const std::string first_error(trim(fetched.error));
    fetched = git({"fetch", "-q", url, "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"});
    if (!fetched.ok()) fail("cannot fetch '{}' of '{}': {}", ref, without_credentials(url), trim(fetched.error));
    wanted = ref;
    if (!git({"rev-parse", "-q", "--verify", ref + "^{commit}"}).ok()) {
      fail("'{}' has no branch, tag or commit '{}' ({})", without_credentials(url), ref, split(first_error, '\n').front());
    }
  }
  const auto commit = git({"rev-parse", wanted + "^{commit}"});
  if (!commit.ok()) fail("'{}' of '{}' is no commit: {}", ref, without_credentials(url), trim(commit.error));
  const std::string commit_id(trim(commit.output));

  make_folder(folder);
  options.extra_environment["GIT_WORK_TREE"] = folder.native();
  options.extra_environment["GIT_INDEX_FILE"] = (scratch / "index").native();
  if (const auto result = git({"-c", "core.bare=false", "checkout", "-q", "-f", commit_id, "--", "."}); !result.ok()) {
    fail("cannot check '{}' out: {}", ref, trim(result.error));
  }
  return commit_id;
}

std::vector<SourceFile> normalise_tree(const fs::path& folder) {
  std::vector<SourceFile> files;
  const timespec times[2] = {{0, 0}, {0, 0}};
  const auto clamp = [&](const fs::path& path) { ::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW); };
  std::vector<fs::path> folders = {folder};
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string path = entry.path().lexically_relative(folder).native();
    if (entry.is_symlink()) {
      files.push_back({path, "link " + fs::read_symlink(entry.path()).native(), {}});
    } else if (entry.is_directory()) {
      ::chmod(entry.path().c_str(), 0755);
      folders.push_back(entry.path());
      continue;
    } else {
      struct stat status {};
      if (::lstat(entry.path().c_str(), &status) != 0) fail("cannot look at '{}': {}", entry.path().native(), errno_text(errno));
      ::chmod(entry.path().c_str(), (status.st_mode & 0100) != 0 ? 0755 : 0644);
      files.push_back({path, sha256_hex_of_file(entry.path()), {}});
    }
    clamp(entry.path());
  }
  for (const auto& path : folders) clamp(path);
  std::sort(files.begin(), files.end(), [](const SourceFile& a, const SourceFile& b) { return a.path < b.path; });
  return files;
}

std::string digest_of_list(const fs::path& folder, const std::vector<SourceFile>& files) {
  Sha256 digest;
  for (const auto& file : files) {
    struct stat status {};
    const bool executable = ::lstat((folder / file.path).c_str(), &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 0100) != 0;
    digest.update(fmt::format("{} {} {}\n", file.path, executable ? "x" : "-", file.sha256));
  }
  return digest.hex();
}

}  // namespace kiln::bake
