#include "cli/remote_images.h"

#include "base/home.h"
#include "base/strings.h"
#include "cli/terminal.h"

namespace kiln::cli {

namespace {

std::vector<std::string> row_of(const image::RemoteImage& image) {
  return {image.name, image.region, image.id, image.kind, image.digest.substr(0, 12), image.state, image.created.substr(0, 10)};
}

Json json_of(const std::vector<image::RemoteImage>& images) {
  Json list = Json::array();
  for (const auto& image : images) list.push_back(image.facts);
  return list;
}

std::string failure_lines(const std::vector<std::string>& failures) {
  std::string text;
  for (const auto& failure : failures) text += "failed: " + failure + "\n";
  return text;
}

}  // namespace

void add_remote_options(CLI::App& app, RemoteChoice& choice) {
  app.add_option("--on", choice.place, "with a cloud's provider instead of on this machine: " + join(image::remote_places(), ", "))
      ->type_name("PLACE");
  app.add_option("--regions", choice.options.regions, "with --on: names of regions (default: all)")->type_name("R,…")->delimiter(',');
  app.add_option("--profile", choice.options.profiles, "with --on: whose credentials; may be given again, one for each partition")
      ->type_name("NAME")
      ->expected(1)
      ->take_all();
}

void add_remote_change_options(CLI::App& app, RemoteChoice& choice) {
  app.add_option_function<std::string>(
         "--ami-list", [&choice](const std::string& folder) { choice.options.list = folder; }, "with --on: a list of ids to keep in step")
      ->type_name("DIR");
  app.add_flag("--dry-run", choice.options.dry_run, "with --on: only say what would be done");
}

std::unique_ptr<image::RemoteImages> open_remote(const RemoteChoice& choice) {
  if (choice.place.empty()) fail_usage("where? --on {}", join(image::remote_places(), " or "));
  image::RemoteOptions options = choice.options;
  options.home = home_folder();
  return image::remote_images(choice.place, options);
}

Response list_remote_images(const RemoteChoice& choice, const std::string& name) {
  image::RemoteChange failures;
  const auto images = open_remote(choice)->list(name, failures);
  Response response;
  response.json = json_of(images);
  std::vector<std::vector<std::string>> rows;
  for (const auto& image : images) rows.push_back(row_of(image));
  response.text = rows.empty() ? fmt::format("no images on {}\n", choice.place)
                               : format_table({"name", "region", "id", "kind", "digest", "state", "made"}, rows);
  response.text += failure_lines(failures.failures);
  response.exit_code = failures.failures.empty() ? 0 : 1;
  return response;
}

Response remote_response(const RemoteChoice& choice, const image::RemoteChange& change) {
  Response response;
  response.json = {{"removed", json_of(change.removed)},
                   {"made", json_of(change.made)},
                   {"kept", json_of(change.kept)},
                   {"removed_snapshots", change.removed_snapshots},
                   {"failures", change.failures}};
  const bool dry_run = choice.options.dry_run;
  const auto lines = [&](const char* word, const std::vector<image::RemoteImage>& images) {
    for (const auto& image : images)
      response.text += fmt::format("{}  {}  {}  {}  {}\n", word, image.name, image.region, image.id, image.kind);
  };
  lines(dry_run ? "would remove" : "removed", change.removed);
  for (const auto& snapshot : change.removed_snapshots)
    response.text += fmt::format("{}  {}\n", dry_run ? "would remove" : "removed", snapshot);
  lines("made", change.made);
  lines("kept", change.kept);
  if (response.text.empty()) response.text = "nothing to do\n";
  response.text += failure_lines(change.failures);
  response.exit_code = change.failures.empty() ? 0 : 1;
  return response;
}

}  // namespace kiln::cli
