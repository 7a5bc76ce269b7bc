#include "image/root_tree.h"

#include <fnmatch.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <map>
#include <unordered_map>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

namespace kiln::image {

namespace {

constexpr std::int64_t kBlockKiB = 4;

struct stat look_at(const fs::path& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) fail("cannot look at '{}': {}", path.native(), errno_text(errno));
  return status;
}

std::string below(const std::string& folder, const std::string& name) { return folder.empty() ? name : folder + "/" + name; }

void add_folder(RootTree& tree, std::size_t index) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(tree.root / tree.files[index].path)) names.push_back(entry.path().filename().native());
  std::sort(names.begin(), names.end());
  for (const auto& name : names) {
    if (index == 0 && name == "lost+found") continue;
    RootFile file;
    file.path = below(tree.files[index].path, name);
    file.name = name;
    file.status = look_at(tree.root / file.path);
    file.parent = index;
    file.first_name = tree.files.size();
    tree.files[index].children.push_back(tree.files.size());
    tree.files.push_back(std::move(file));
    if (S_ISDIR(tree.files.back().status.st_mode)) add_folder(tree, tree.files.size() - 1);
  }
}

void find_hard_links(RootTree& tree) {
  std::map<std::pair<dev_t, ino_t>, std::size_t> seen;
  for (auto& file : tree.files) {
    if (S_ISDIR(file.status.st_mode) || file.status.st_nlink < 2) continue;
    file.first_name = seen.try_emplace({file.status.st_dev, file.status.st_ino}, file.first_name).first->second;
  }
}

// A path that a layer hides is in the merged tree only if a higher layer has it again: the highest that knows a file's path is its own.
void find_layers(RootTree& tree, const std::vector<fs::path>& layers) {
  std::unordered_map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < tree.files.size(); ++i) index.emplace(tree.files[i].path, i);
  std::vector<bool> known(tree.files.size());
  known[0] = true;
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    const std::size_t prefix = layers[layer].native().size() + 1;
    for (const auto& entry : fs::recursive_directory_iterator(layers[layer])) {
      const auto found = index.find(entry.path().native().substr(prefix));
      if (found == index.end()) continue;
      RootFile& file = tree.files[found->second];
      if (S_ISDIR(file.status.st_mode) && known[found->second]) continue;
      file.layer = layer;
      known[found->second] = true;
    }
  }
}

void find_matches(const RootTree& tree, std::size_t index, const std::vector<std::string>& components, std::size_t depth,
                  std::vector<std::size_t>& found) {
  if (depth == components.size()) {
    found.push_back(index);
    return;
  }
  for (const std::size_t child : tree.files[index].children) {
    if (::fnmatch(components[depth].c_str(), tree.files[child].name.c_str(), 0) == 0)
      find_matches(tree, child, components, depth + 1, found);
  }
}

std::optional<BlockRange> parse_range(const std::string& word) {
  std::int64_t begin = 0, end = 0;
  const char* const last = word.data() + word.size();
  const auto first = std::from_chars(word.data(), last, begin);
  if (first.ec != std::errc() || first.ptr == last || *first.ptr != '-') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, last, end);
  if (second.ec != std::errc() || second.ptr != last || begin < 0 || end <= begin) return std::nullopt;
  return BlockRange{begin / kBlockKiB, (end + kBlockKiB - 1) / kBlockKiB};
}

// Sorted, apart, and not beyond the file's end.
std::vector<BlockRange> tidy(std::vector<BlockRange> ranges, std::int64_t blocks) {
  std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  std::vector<BlockRange> result;
  for (BlockRange range : ranges) {
    range.end = std::min(range.end, blocks);
    if (range.begin >= range.end) continue;
    if (!result.empty() && range.begin <= result.back().end) {
      result.back().end = std::max(result.back().end, range.end);
    } else {
      result.push_back(range);
    }
  }
  return result;
}

class Ranks {
 public:
  explicit Ranks(RootTree& tree) : tree_(tree) {}

  void add_line(const std::string& line) {
    std::vector<std::string> words;
    for (auto& word : split(line, ' ')) {
      if (!word.empty()) words.push_back(std::move(word));
    }
    if (words.empty() || words[0].starts_with('#')) return;
    if (!words[0].starts_with('/')) fail("a path must begin with '/': '{}'", words[0]);
    std::vector<BlockRange> ranges;
    for (std::size_t i = 1; i < words.size(); ++i) {
      const auto range = parse_range(words[i]);
      if (!range) fail("'{}' is no range: FROM-TO in KiB is wanted", words[i]);
      ranges.push_back(*range);
    }
    const bool folder = words[0].ends_with('/');
    std::vector<std::string> components;
    for (auto& component : split(words[0], '/')) {
      if (!component.empty()) components.push_back(std::move(component));
    }
    std::vector<std::size_t> found;
    find_matches(tree_, 0, components, 0, found);
    for (const std::size_t index : found) {
      if (S_ISDIR(tree_.files[index].status.st_mode) == folder) mark(index, ranges);
    }
  }

 private:
  // The folders on the way to it are read before it.
  void mark(std::size_t index, const std::vector<BlockRange>& ranges) {
    RootFile& file = tree_.files[tree_.files[index].first_name];
    if (index != 0) mark(tree_.files[index].parent, {});
    if (file.rank != RootFile::kNotRead) return;
    file.rank = next_++;
    file.read = tidy(ranges.empty() ? std::vector<BlockRange>{{0, file.blocks()}} : ranges, file.blocks());
  }

  RootTree& tree_;
  std::size_t next_ = 0;
};

void read_lists(RootTree& tree) {
  std::vector<std::size_t> lists;
  find_matches(tree, 0, {"usr", "lib", "kiln", "modules", "*", "boot-files"}, 0, lists);
  Ranks ranks(tree);
  for (const std::size_t list : lists) {
    if (!S_ISREG(tree.files[list].status.st_mode)) continue;
    int number = 0;
    for (const auto& line : split(read_file(tree.root / tree.files[list].path), '\n')) {
      ++number;
      with_context(fmt::format("reading '/{}' of the image, line {}", tree.files[list].path, number), [&] { ranks.add_line(line); });
    }
  }
}

}  // namespace

std::int64_t RootFile::blocks() const {
  // A link of less than 60 bytes stands in its inode.
  if (S_ISREG(status.st_mode) || (S_ISLNK(status.st_mode) && status.st_size >= 60))
    return (status.st_size + kExt4BlockBytes - 1) / kExt4BlockBytes;
  return 0;
}

RootTree read_root(const fs::path& root, const std::vector<fs::path>& layers) {
  RootTree tree;
  tree.root = root;
  tree.layers = layers.size();
  RootFile top;
  top.status = look_at(root);
  tree.files.push_back(std::move(top));
  add_folder(tree, 0);
  find_hard_links(tree);
  find_layers(tree, layers);
  read_lists(tree);
  return tree;
}

}  // namespace kiln::image
