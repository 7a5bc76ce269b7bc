// kiln image list, show, rm, gc: what is in the store.
#include "bake/store.h"
#include "base/activity.h"
#include "base/files.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/find_image.h"
#include "cli/remote_images.h"
#include "cli/terminal.h"
#include "cluster/session.h"

namespace kiln::cli {
namespace {

std::int64_t size_of(const bake::Image& image) {
  std::int64_t size_bytes = 0;
  for (const auto& layer : image.layers) size_bytes += layer.size_bytes;
  return size_bytes;
}

std::string human(std::int64_t size_bytes) { return human_size(static_cast<std::uintmax_t>(size_bytes)); }

std::vector<std::string> users_of(const bake::Image& image) {
  std::vector<std::string> users;
  for (const auto& cluster : cluster::list_clusters()) {
    if (cluster.image_digest == image.digest) users.push_back(cluster.name);
  }
  return users;
}

const RegisterCommand list_command{
    {.name = "image list",
     .group = "Images",
     .summary = "list the images that were baked",
     .examples = {{"kiln image list", ""}, {"kiln image list --on aws", "those that lie with AWS, of all regions"}},
     .define = [](CLI::App& app) {
       auto remote = std::make_shared<RemoteChoice>();
       add_remote_options(app, *remote);
       return [remote] {
         if (!remote->place.empty()) return list_remote_images(*remote, "");
         Response response;
         response.json = Json::array();
         std::vector<std::vector<std::string>> rows;
         for (const auto& image : bake::Store().images()) {
           response.json.push_back({{"name", image.name},
                                    {"digest", image.digest},
                                    {"suite", image.suite},
                                    {"architecture", image.architecture},
                                    {"layers", image.layers.size()},
                                    {"size_bytes", size_of(image)},
                                    {"created", image.created}});
           rows.push_back({image.name, image.digest.substr(0, 12), image.suite, image.architecture, std::to_string(image.layers.size()),
                           human(size_of(image)), human_duration(now_in_seconds() - static_cast<double>(image.created))});
         }
         response.text = rows.empty() ? "no images; `kiln bake spark` makes one\n"
                                      : format_table({"name", "digest", "suite", "arch", "layers", "size", "age"}, rows);
         return response;
       };
     }}};

const RegisterCommand show_command{
    {.name = "image show",
     .group = "Images",
     .summary = "show an image's layers, modules and parameters",
     .examples = {{"kiln image show spark", ""}},
     .define = [](CLI::App& app) {
       auto name = std::make_shared<std::string>();
       app.add_option("IMAGE", *name, "the image")->required();
       return [name] {
         const auto image = find_image(bake::Store(), *name);
         Response response;
         response.json = image.to_json();
         response.json["used_by"] = users_of(image);
         std::vector<std::vector<std::string>> layers, modules;
         for (const auto& layer : image.layers) {
           layers.push_back({layer.name, layer.key.substr(0, 12), human(layer.size_bytes), std::to_string(layer.files),
                             fmt::format("{:.1f} s", layer.seconds)});
         }
         for (const auto& module : image.modules) {
           std::vector<std::string> params;
           for (const auto& [key, value] : module.params) params.push_back(key + "=" + value);
           modules.push_back({module.manifest.name, module.manifest.summary, join(params, " ")});
         }
         response.text = fmt::format("{}: {}\n{} {}, digest {}, {}\n", image.name, image.summary, image.suite, image.architecture,
                                     image.digest.substr(0, 12), human(size_of(image))) +
                         (image.beside.empty() ? "\n" : fmt::format("for other architectures: {}\n\n", join(image.beside, ", "))) +
                         format_table({"layer", "key", "size", "files", "made in"}, layers) + "\n" +
                         format_table({"module", "", "parameters"}, modules);
         return response;
       };
     }}};

const RegisterCommand rm_command{
    {.name = "image rm",
     .group = "Images",
     .summary = "remove an image",
     .description = "Its layers stay until `kiln image gc`, as other images may share them. An image that a cluster uses is not removed.\n"
                    "With the first image of a spec for several architectures go the others.\n"
                    "With --on it goes from there, in all regions: AMIs are deregistered, and their snapshots deleted.",
     .examples = {{"kiln image rm spark", ""}, {"kiln image rm spark --on aws --regions eu-central-1", "there, and in that region only"}},
     .define = [](CLI::App& app) {
       auto name = std::make_shared<std::string>();
       auto remote = std::make_shared<RemoteChoice>();
       app.add_option("IMAGE", *name, "the image")->required();
       add_remote_options(app, *remote);
       add_remote_change_options(app, *remote);
       app.add_flag("--force", remote->options.force, "with --on: also what instances use");
       return [name, remote] {
         if (!remote->place.empty()) return remote_response(*remote, open_remote(*remote)->remove(*name));
         bake::Store store;
         std::vector<bake::Image> images = {find_image(store, *name)};
         for (const auto& other : images.front().beside) {
           if (auto beside = store.find_image(other)) images.push_back(std::move(*beside));
         }
         for (const auto& image : images) {
           const auto users = users_of(image);
           if (users.empty()) continue;
           Error error(fmt::format("image '{}' is used by: {}", image.name, join(users, ", ")));
           error.set_hint("`kiln destroy` them first");
           throw error;
         }
         Response response{{{"removed", *name}}, ""};
         for (const auto& image : images) {
           store.remove_image(image.name);
           response.text += fmt::format("{} is removed; `kiln image gc` frees its layers\n", image.name);
           if (image.name != *name) response.json["beside"].push_back(image.name);
         }
         return response;
       };
     }}};

const RegisterCommand gc_command{{.name = "image gc",
                                  .group = "Images",
                                  .summary = "remove layers and sources that no image and no cluster uses",
                                  .examples = {{"kiln image gc --dry-run", "only says what would go"}},
                                  .define = [](CLI::App& app) {
                                    auto dry_run = std::make_shared<bool>(false);
                                    app.add_flag("--dry-run", *dry_run, "only say what would be removed");
                                    return [dry_run] {
                                      std::vector<std::string> roots;
                                      for (const auto& cluster : cluster::list_clusters()) {
                                        for (const auto& key : cluster.notes.value("layers", std::vector<std::string>()))
                                          roots.push_back(key);
                                      }
                                      Response response;
                                      response.json = Json::array();
                                      std::int64_t size_bytes = 0;
                                      for (const auto& garbage : bake::Store().collect_garbage(*dry_run, roots)) {
                                        response.json.push_back({{"what", garbage.what}, {"size_bytes", garbage.size_bytes}});
                                        response.text += fmt::format("{}  {}\n", garbage.what, human(garbage.size_bytes));
                                        size_bytes += garbage.size_bytes;
                                      }
                                      response.text += fmt::format("{} {}\n", *dry_run ? "would free" : "freed", human(size_bytes));
                                      return response;
                                    };
                                  }}};

}  // namespace
}  // namespace kiln::cli
