// Tar archives as OCI wants layers: sorted entries, numeric owners, no times but the files' own, extended attributes where they matter.
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace kiln::image {

// Takes bytes as they come.
using ByteSink = std::function<void(std::string_view bytes)>;

// Compresses a stream, as gzip (no name, no time in it) or zstd; or passes it on.
class Compressor {
 public:
  // `filter`: "gzip", "zstd" or "" (none).
  Compressor(const std::string& filter, ByteSink sink);
  ~Compressor();
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;
  void write(std::string_view bytes);
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Writes a pax archive to `sink`.
class TarWriter {
 public:
  explicit TarWriter(ByteSink sink);
  ~TarWriter();
  TarWriter(const TarWriter&) = delete;
  TarWriter& operator=(const TarWriter&) = delete;

  // The files of an overlay layer below `folder`, sorted by path: what is whited out becomes ".wh.NAME", an opaque folder gets
  // ".wh..wh..opq", names of one inode become hard links, overlayfs's own attributes are left out. Must run where the files can be read.
  void add_layer(const std::filesystem::path& folder);
  // A regular file with this content, mode 0644, owner 0, time `epoch`.
  void add_text(const std::string& path, std::string_view text, std::int64_t epoch);
  void add_file(const std::string& path, const std::filesystem::path& file, std::int64_t epoch);
  void add_folder(const std::string& path, std::int64_t epoch);
  void finish();

 private:
  struct State;
  void write_header(archive_entry* entry);
  void write_content(const std::filesystem::path& file, std::int64_t size_bytes);
  std::unique_ptr<State> state_;
};

}  // namespace kiln::image
