// What is done to a layer's files when its step has ended, inside the cell: leftovers out, times clamped, counted and listed.
//
// The list, layers/KEY/files: one line a path, sorted, "TYPE SIZE PATH\n" with TYPE f (file), d (folder), l (link), w (whiteout: it hides
// what is below), o (other); a newline in a path is written "\n", a backslash "\\". It is what conflicts are looked for in, without
// touching the files, which for an ordinary user belong to somebody else.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace kiln::bake {

// Where `path` is in a layer, there or not; nothing when something on the way is no real folder. A link there (of a base that a stranger
// made) must never lead what is done to a layer's files to this machine's own.
std::optional<std::filesystem::path> place_in(const std::filesystem::path& files, const std::string& path);
bool is_real_folder(const std::filesystem::path& path);

enum class Leftovers { kBase, kPackages, kModule };

// Removes what a step leaves that is no part of an image: /run, /tmp, caches, logs, back-up copies, what tells of this machine.
void remove_leftovers(const std::filesystem::path& files, Leftovers kind);

// No file is newer than `epoch`; the overlay's private marks go, except those that say what is hidden.
void clamp_times(const std::filesystem::path& files, std::int64_t epoch);

struct ListedFile {
  char type = 'f';
  std::int64_t size_bytes = 0;
  std::string path;  // relative
};
std::vector<ListedFile> list_files(const std::filesystem::path& files);
std::string write_list(const std::vector<ListedFile>& list);
std::vector<ListedFile> read_list(const std::string& text);

struct LayerSize {
  std::int64_t size_bytes = 0;
  std::int64_t files = 0;  // folders are not counted
};
// The end of whatever makes a layer in a work folder: lists WORK/fs in WORK/files and puts all of it on the disk, so that after a power cut
// there is the whole layer or none.
LayerSize seal_layer(const std::filesystem::path& work);

// --- conflicts: two modules that write the same path ---

struct ModuleFiles {
  std::string module;
  std::vector<std::string> requires_modules;  // transitively
  std::filesystem::path folder;
  std::vector<ListedFile> list;
};
struct Conflict {
  std::string first, second;  // modules
  std::string path;
};
// Paths in two lists where neither module requires the other; folders in both are no conflict. What the files hold is not looked at.
// Accounts (/etc/passwd …) are left out: those are merged (accounts.h).
std::vector<Conflict> possible_conflicts(const std::vector<ModuleFiles>& modules);
// True when the two have the same type, content, mode and owner: then it does not matter whose is seen.
bool same_file(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace kiln::bake
