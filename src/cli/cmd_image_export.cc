// kiln image export: an image as a file or folder for others.
#include "base/files.h"
#include "base/parallel.h"
#include "cli/command.h"
#include "cli/find_image.h"
#include "image/oci.h"
#include "image/rootfs.h"

namespace kiln::cli {
namespace {

struct Options {
  std::vector<std::string> images;
  std::string output, reference, compression = "gzip";
};

Response run(const Options& options) {
  const bake::Store store;
  const auto compression = image::parse_compression("--compression", options.compression);
  std::vector<bake::Image> images;
  for (const auto& name : options.images) images.push_back(find_image(store, name));
  const FileLock in_use = store.in_use();
  std::vector<image::OciImage> made;
  for (const auto& each : images) {
    image::rootfs_folders(store, each);
    made.push_back(image::make_oci_image(store, each, compression, processor_count()));
  }
  const std::string reference = options.reference.empty() ? images.front().name + ":latest" : options.reference;
  const fs::path output = options.output;
  const bool archive = output.extension() == ".tar";
  if (archive)
    image::write_archive(store, made, reference, images.front().spec.value("epoch", std::int64_t{0}), output);
  else
    image::write_layout(store, made, reference, output);
  Response response;
  const std::string digest = made.size() == 1 ? made[0].manifest.digest : image::make_oci_index(store, made).index.digest;
  response.json = {{"output", output.native()}, {"format", archive ? "oci-archive" : "oci"}, {"reference", reference}, {"digest", digest}};
  response.text = fmt::format("{} is {} {}: {}\n", reference, archive ? "in the archive" : "in the OCI layout", output.native(), digest);
  return response;
}

const RegisterCommand command{
    {.name = "image export",
     .group = "Images",
     .summary = "write an image for container engines: a layout folder or an archive",
     .description = "A name that ends in .tar gives one file, which `docker load`, `podman load` and `skopeo copy oci-archive:` read; any "
                    "other gives an\n"
                    "OCI layout: a folder that can hold several images. Several images, one for each architecture, are written as one.",
     .examples = {{"kiln image export spark -o spark.tar", "then: docker load -i spark.tar"},
                  {"kiln image export spark -o layout --ref spark:4.1", "then: skopeo inspect oci:layout:4.1"}},
     .define = [](CLI::App& app) {
       auto options = std::make_shared<Options>();
       app.add_option("IMAGE", options->images, "the image; several: one for each architecture")->required();
       app.add_option("-o,--output", options->output, "the file (.tar) or folder")->required()->type_name("PATH");
       app.add_option("--ref", options->reference, "name and tag in it (default: IMAGE:latest)")->type_name("REF");
       app.add_option("--compression", options->compression, "of the layers: gzip (default) or zstd")->type_name("NAME");
       return [options] { return run(*options); };
     }}};

}  // namespace
}  // namespace kiln::cli
