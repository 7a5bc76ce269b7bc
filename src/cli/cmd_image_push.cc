// kiln image push: an image to a container registry.
#include "base/files.h"
#include "base/parallel.h"
#include "cli/command.h"
#include "cli/find_image.h"
#include "image/push.h"
#include "image/rootfs.h"

namespace kiln::cli {
namespace {

struct Options {
  std::vector<std::string> words;
  std::string compression = "gzip", architecture;
  bool plain_http = false;
};

Response run(const Options& options) {
  if (options.words.size() < 2) fail_usage("expected at least one IMAGE and a REFERENCE");
  const auto reference = image::parse_reference(options.words.back());
  const auto compression = image::parse_compression("--compression", options.compression);
  const bake::Store store;
  const auto images = find_images(store, {options.words.begin(), options.words.end() - 1}, options.architecture);
  const FileLock in_use = store.in_use();
  std::vector<image::OciImage> made;
  for (const auto& each : images) {
    image::rootfs_folders(store, each);
    made.push_back(image::make_oci_image(store, each, compression, processor_count()));
  }
  image::RegistryOptions registry;
  registry.plain_http = options.plain_http;
  const auto pushed = image::push_image(store, made, reference, registry);
  return {{{"reference", reference.text()},
           {"digest", pushed.digest},
           {"blobs_sent", pushed.sent},
           {"blobs_present", pushed.present},
           {"bytes_sent", pushed.sent_bytes}},
          fmt::format("{} is {}: {} blobs sent ({}), {} were there\n", reference.text(), pushed.digest, pushed.sent,
                      human_size(static_cast<std::uintmax_t>(pushed.sent_bytes)), pushed.present)};
}

const RegisterCommand command{
    {.name = "image push",
     .group = "Images",
     .summary = "send an image to a container registry",
     .description =
         "Layers that the registry has are not sent again; a push that was cut is finished by the next one. Credentials are those that\n"
         "`docker login` or `skopeo login` keep. Several images, one for each architecture, become one reference;\n"
         "so do the images of a spec for several architectures.",
     .examples = {{"kiln image push spark registry.example/spark:4.1", ""},
                  {"kiln image push spark localhost:5000/spark", "a registry of this machine, with or without TLS"}},
     .define = [](CLI::App& app) {
       auto options = std::make_shared<Options>();
       app.add_option("IMAGE… REFERENCE", options->words, "the image (several: one for each architecture), and HOST[:PORT]/NAME[:TAG]")
           ->required();
       app.add_option("--architecture", options->architecture, "only the image for this one (default: all)")->type_name("NAME");
       app.add_option("--compression", options->compression, "of the layers: gzip (default) or zstd")->type_name("NAME");
       app.add_flag("--plain-http", options->plain_http, "talk to the registry without TLS");
       return [options] { return run(*options); };
     }}};

}  // namespace
}  // namespace kiln::cli
