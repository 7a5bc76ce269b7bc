// Reads archives that others wrote, by libarchive: a stream of entries, with a limit on how much it may unpack to, and the digest of the
// bytes that were read.
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>

#include "base/fd.h"

namespace kiln::oci {

struct ArchiveOptions {
  bool any_format = false;  // else tar, plain or by gzip or zstd: what layers are
  // What the archive may unpack to, headers included. Compression can make a disk full of zeros of a few kilobytes.
  std::int64_t most_bytes = std::numeric_limits<std::int64_t>::max();
  bool digest = false;  // compute the SHA-256 of the file
};

class ArchiveReader {
 public:
  // `name`: for errors.
  ArchiveReader(Fd file, std::string name, const ArchiveOptions& options = {});
  ~ArchiveReader();
  ArchiveReader(const ArchiveReader&) = delete;
  ArchiveReader& operator=(const ArchiveReader&) = delete;
  static Fd open(const std::filesystem::path& file);

  // The next entry, valid until the next call; null at the end. Error for what is no archive, or is damaged.
  archive_entry* next();
  // A path of an entry (its own, or where a link leads). Error when its letters cannot be read.
  std::string path_of(archive_entry* entry) const;
  // The next bytes of the entry's data, and where in the file they stand; false at its end.
  bool read_block(const void*& bytes, std::size_t& count, std::int64_t& offset);

  // After the last entry: reads what is left of the file, and gives the size and the digest ("sha256:…") of all of it.
  struct Whole {
    std::int64_t size_bytes = 0;
    std::string digest;
  };
  Whole finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::oci
