// kiln image import: an image from a registry, a layout or an archive into the store.
#include "base/files.h"
#include "cli/command.h"
#include "image/import.h"
#include "image/rootfs.h"

namespace kiln::cli {
namespace {

struct Options {
  std::string source;
  image::ImportOptions import;
};

Response run(const Options& options) {
  bake::Store store;
  const auto imported = image::import_image(store, options.source, options.import);
  const auto size_bytes = image::size_bytes(imported);
  return {{{"image", imported.name}, {"digest", imported.digest}, {"layers", imported.layers.size()}, {"size_bytes", size_bytes}},
          fmt::format("{} is imported: {} layers, {}\n", imported.name, imported.layers.size(),
                      human_size(static_cast<std::uintmax_t>(size_bytes)))};
}

const RegisterCommand command{
    {.name = "image import",
     .group = "Images",
     .summary = "take an image from a registry, a layout folder or an archive",
     .description =
         "An image that kiln made comes back whole, with its modules, ready to launch. Any other becomes a base: one layer, to be\n"
         "exported or pushed, or to stand other images on (base: {oci: …} in a spec, which uses the same layer).\n"
         "A registry is asked anew each time: that moves a base's tag on to what the registry has now.",
     .examples = {{"kiln image import registry.example/spark:4.1", ""},
                  {"kiln image import spark.tar --name other", "an archive of `kiln image export`, `docker save` or skopeo"},
                  {"kiln image import layout:4.1", "one image of an OCI layout"}},
     .define = [](CLI::App& app) {
       auto options = std::make_shared<Options>();
       app.add_option("SOURCE", options->source, "HOST[:PORT]/NAME[:TAG][@DIGEST], or a folder or file")->required();
       app.add_option("--name", options->import.name, "the image's name here (default: its own)")->type_name("NAME");
       app.add_option("--architecture", options->import.architecture, "of several: amd64 or arm64 (default: this machine's)")
           ->type_name("NAME");
       return [options] { return run(*options); };
     }}};

}  // namespace
}  // namespace kiln::cli
