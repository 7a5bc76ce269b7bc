// kiln image diff: what differs between two images.
#include "base/files.h"
#include "cli/command.h"
#include "cli/find_image.h"
#include "image/diff.h"

namespace kiln::cli {
namespace {

struct Options {
  std::string before, after;
  bool files = false;
};

// More files than these are a number, unless they are asked for: a new version of a package changes hundreds.
constexpr std::size_t kFilesShown = 20;

struct Section {
  const char* name;
  std::vector<image::Change> image::ImageDiff::*changes;
  enum class Style { kValues, kDigests, kPaths } style;
};
constexpr Section kSections[] = {{"packages", &image::ImageDiff::packages, Section::Style::kValues},
                                 {"python", &image::ImageDiff::python, Section::Style::kValues},
                                 {"jars", &image::ImageDiff::jars, Section::Style::kValues},
                                 {"modules", &image::ImageDiff::modules, Section::Style::kValues},
                                 {"sources", &image::ImageDiff::sources, Section::Style::kDigests},
                                 {"privileged", &image::ImageDiff::privileged, Section::Style::kValues},
                                 {"files", &image::ImageDiff::files, Section::Style::kPaths}};

// "77f78984aa84…" for a digest, also one with a mode behind it.
std::string shorten(const std::string& value) {
  constexpr std::size_t kDigest = 64;
  const bool digest = value.size() >= kDigest && value.find_first_not_of("0123456789abcdef") >= kDigest;
  return digest ? value.substr(0, 12) + value.substr(kDigest) : value;
}

std::string line(const image::Change& change, Section::Style style) {
  const char sign = change.before.empty() ? '+' : change.after.empty() ? '-' : '~';
  std::string text = fmt::format("  {} {}", sign, change.name);
  if (style == Section::Style::kPaths) {
    if (!change.before.empty() && !change.after.empty() && change.before != change.after)
      text += fmt::format(" ({} → {})", change.before, change.after);
    return text;
  }
  if (change.before.empty() || change.after.empty()) {
    const std::string& value = change.before.empty() ? change.after : change.before;
    return value == "there" ? text : text + " " + shorten(value);
  }
  return text + fmt::format(" {} → {}", shorten(change.before), shorten(change.after));
}

Response run(const Options& options) {
  const bake::Store store;
  const auto before = find_image(store, options.before), after = find_image(store, options.after);
  const FileLock in_use = store.in_use();
  const auto diff = image::diff_images(store, before, after);
  Response response;
  response.json = {{"before", before.name}, {"after", after.name}, {"same", diff.empty()}};
  for (const auto& section : kSections) {
    const auto& changes = diff.*section.changes;
    Json lists = {{"added", Json::array()}, {"removed", Json::array()}, {"changed", Json::array()}};
    for (const auto& change : changes) {
      const char* list = change.before.empty() ? "added" : change.after.empty() ? "removed" : "changed";
      Json entry = {{"name", change.name}};
      if (!change.before.empty()) entry["before"] = change.before;
      if (!change.after.empty()) entry["after"] = change.after;
      lists[list].push_back(std::move(entry));
    }
    if (!changes.empty()) {
      response.text += fmt::format("{}: {} added, {} removed, {} changed\n", section.name, lists["added"].size(), lists["removed"].size(),
                                   lists["changed"].size());
    }
    const bool all = options.files || section.style != Section::Style::kPaths || changes.size() <= kFilesShown;
    for (std::size_t i = 0; i < (all ? changes.size() : kFilesShown); ++i) response.text += line(changes[i], section.style) + "\n";
    if (!all) response.text += fmt::format("    and {} more; --files lists all\n", changes.size() - kFilesShown);
    response.json[section.name] = std::move(lists);
  }
  if (diff.empty()) response.text = fmt::format("{} and {} hold the same\n", before.name, after.name);
  return response;
}

const RegisterCommand command{
    {.name = "image diff",
     .group = "Images",
     .summary = "say what differs between two images",
     .description =
         "Packages, Python packages, Java archives, modules with their parameters and files, sources, files that run as their owner\n"
         "(setuid), and all other files. + is in the second only, - in the first only, ~ in both, and not the same.",
     .examples = {{"kiln image diff spark spark-next", ""}, {"kiln image diff spark spark-next --files", "all files, not the first 20"}},
     .define = [](CLI::App& app) {
       auto options = std::make_shared<Options>();
       app.add_option("BEFORE", options->before, "an image")->required();
       app.add_option("AFTER", options->after, "the other")->required();
       app.add_flag("--files", options->files, "list all files that differ");
       return [options] { return run(*options); };
     }}};

}  // namespace
}  // namespace kiln::cli
