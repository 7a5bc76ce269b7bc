// kiln image copy, prune: images that lie with a cloud's provider.
#include "cli/remote_images.h"

namespace kiln::cli {
namespace {

const RegisterCommand copy_command{{.name = "image copy",
                                    .group = "Images",
                                    .summary = "copy an image to more regions",
                                    .description = "The newest bake of the image that is with the provider is copied from the region that "
                                                   "has it. Regions that have it are left alone.",
                                    .examples = {{"kiln image copy spark --on aws --regions eu-central-1,sa-east-1", ""}},
                                    .define = [](CLI::App& app) {
                                      auto name = std::make_shared<std::string>();
                                      auto remote = std::make_shared<RemoteChoice>();
                                      app.add_option("IMAGE", *name, "the image")->required();
                                      add_remote_options(app, *remote);
                                      app.add_option_function<std::string>(
                                             "--ami-list", [remote](const std::string& folder) { remote->options.list = folder; },
                                             "a list of ids to keep in step")
                                          ->type_name("DIR");
                                      return [name, remote] { return remote_response(*remote, open_remote(*remote)->copy(*name)); };
                                    }}};

const RegisterCommand prune_command{
    {.name = "image prune",
     .group = "Images",
     .summary = "remove old bakes of images that are with a provider",
     .description =
         "In each region the newest bakes of each image stay. AMIs that instances use stay, too; what is not kiln's is not touched.",
     .examples = {{"kiln image prune --on aws --keep 3", "of every image"},
                  {"kiln image prune spark --on aws --keep 1 --dry-run", "of one; only says what would go"}},
     .define = [](CLI::App& app) {
       auto name = std::make_shared<std::string>();
       auto keep = std::make_shared<std::size_t>(3);
       auto remote = std::make_shared<RemoteChoice>();
       app.add_option("IMAGE", *name, "the image (default: every one)");
       app.add_option("--keep", *keep, "how many bakes stay (default: 3)")->type_name("N")->check(CLI::Range(1, 1000));
       add_remote_options(app, *remote);
       add_remote_change_options(app, *remote);
       return [name, keep, remote] { return remote_response(*remote, open_remote(*remote)->prune(*name, *keep)); };
     }}};

}  // namespace
}  // namespace kiln::cli
