// Unpacks a stranger's archive below one folder, and nowhere else.
//
// Every path is walked from the folder one name at a time, by descriptors and never through the kernel's own following of links: a link
// on the way leads where it would in the image (an absolute one starts at the folder, ".." stops there). The last name is replaced, never
// followed. So neither paths nor links, nor hard links, nor what an earlier layer put there lead out; the tests and the fuzz target hold it
// to that. Rejected: libarchive's own writer with its SECURE flags, which refuses a link on the way where images mean it to be followed
// (/lib → usr/lib); chroot, which only root may do, and which would let a link lead to the wrong file of the image all the same.
//
// Left out: device nodes (every node has a /dev of its own; an ordinary user could not make them), extended attributes other than users'
// own and file capabilities (security.capability), and above all overlayfs's (user.overlay.…), which would steer the layers above.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "oci/archive_reader.h"

namespace kiln::oci {

struct WriteLimits {
  std::int64_t data_bytes = 0;                      // in all, as stored: what is over it is an Error
  std::int64_t file_bytes = std::int64_t{1} << 40;  // of one file, holes included; no image has a larger one
};
// Limits by the room that the file system of `folder` has.
WriteLimits limits_by_free_space(const std::filesystem::path& folder);

class TreeWriter {
 public:
  // `owners`: give files their owners, for which one must be root (of a user namespace).
  TreeWriter(const std::filesystem::path& folder, const WriteLimits& limits, bool owners = true);
  ~TreeWriter();
  TreeWriter(const TreeWriter&) = delete;
  TreeWriter& operator=(const TreeWriter&) = delete;

  // Where `path` leads: the path from the folder without a link on the way; the last name is not followed. Folders that lack are made.
  // Error for a path that names nothing (".."), or leads through something that is no folder.
  std::string resolve(const std::string& path);

  // Makes what `entry` is at a path that resolve() gave, with its data from `reader`; replaces what is there (a folder by a
  // folder: only its mode and owner). False when it was left out.
  bool write(ArchiveReader& reader, archive_entry* entry, const std::string& path);

  // Removes what is there, with all below; absent is fine.
  void remove(const std::string& path);
  // What hides a path of the layers below from overlayfs: a device 0:0; and what hides all in a folder of theirs.
  void hide(const std::string& path);
  void hide_all(const std::string& folder);
  // The names in a folder.
  std::vector<std::string> names_in(const std::string& path);
  bool is_folder(const std::string& path);

  // Sets the folders' times, which writing into them changed. Last.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::oci
