// url: one file by HTTP(S), resumed where it was cut, verified before anybody sees it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "bake/source_kinds.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/hash.h"

namespace kiln::bake {

namespace {

std::string name_in_url(const std::string& url) {
  const std::string path = url.substr(0, url.find_first_of("?#"));
  std::string name = path.substr(path.rfind('/') + 1);
  return name.empty() || name == "." || name == ".." ? "download" : name;
}

// Nothing when the file is what it must be, else what is wrong.
std::string complaint_about(const Download& download, const std::string& sha256, const fs::path& file) {
  if (!download.sha256.empty() && sha256 != download.sha256) return fmt::format("its SHA-256 is {}, expected {}", sha256, download.sha256);
  if (download.sha512.empty()) return {};
  const std::string sha512 = sha512_hex_of_file(file);
  return sha512 == download.sha512 ? std::string()
                                   : fmt::format("its SHA-512 is {}…, expected {}…", sha512.substr(0, 32), download.sha512.substr(0, 32));
}

// Readable by everybody: in a sandbox it may be somebody else who reads it.
void finish_file(const fs::path& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file || ::fchmod(file.get(), 0644) != 0 || ::fsync(file.get()) != 0) fail("cannot write '{}': {}", path.native(), errno_text(errno));
}

}  // namespace

SourceFile fetch_download(const Store& store, const Download& download, const HttpOptions& http, const ByteProgress& on_progress) {
  const fs::path files = store.folder("sources/sha256");
  SourceFile file{download.name.empty() ? name_in_url(download.url) : download.name, download.sha256, without_credentials(download.url)};
  if (!file.sha256.empty() && fs::exists(files / file.sha256)) return file;

  // The same part from whichever mirror: what a digest names is the same file everywhere.
  const std::string part_name = sha256_hex(download.sha256 + " " + download.sha512).substr(0, 32);
  const fs::path part = store.folder("sources/partial") / (part_name + ".part");
  const FileLock lock = store.lock("download-" + part_name, "the download '" + file.from + "'");
  if (!file.sha256.empty() && fs::exists(files / file.sha256)) return file;

  HttpOptions options = http;
  options.on_progress = on_progress;
  for (bool resumed = true, first = true;; first = false) {
    std::error_code error;
    // A part that is whole already was cut between its last byte and its new name.
    const bool whole =
        first && fs::file_size(part, error) > 0 && !error && complaint_about(download, sha256_hex_of_file(part), part).empty();
    if (!whole) resumed = http_download(download.url, part, options);
    file.sha256 = sha256_hex_of_file(part);
    const std::string complaint = whole ? std::string() : complaint_about(download, file.sha256, part);
    if (complaint.empty()) break;
    ::unlink(part.c_str());
    // The beginning may have been another file's, or a broken disk's: once more, all of it.
    if (resumed && first) {
      say("the resumed download '" + file.from + "' is corrupt: from the start again");
      continue;
    }
    Error corrupt(fmt::format("'{}' is corrupt: {}", file.from, complaint));
    corrupt.set_hint("the file was replaced upstream, or something on the way changed it; it was not used");
    throw corrupt;
  }
  finish_file(part);
  if (::rename(part.c_str(), (files / file.sha256).c_str()) != 0)
    fail("cannot put '{}' into the store: {}", part.native(), errno_text(errno));
  return file;
}

}  // namespace kiln::bake
