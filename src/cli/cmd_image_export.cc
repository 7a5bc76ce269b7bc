// kiln image export: an image as a file or folder for others.
#include "bake/sbom.h"
#include "base/files.h"
#include "base/parallel.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/find_image.h"
#include "image/disk_formats.h"
#include "image/gce.h"
#include "image/oci.h"
#include "image/rootfs.h"

namespace kiln::cli {
namespace {

struct Options {
  std::vector<std::string> images, modules;
  std::string output, reference, compression = "gzip", format = "oci", architecture;
};

struct Export {
  Json facts;
  std::string words;
};

Export export_oci(bake::Store& store, const std::vector<bake::Image>& images, const Options& options) {
  const auto compression = image::parse_compression("--compression", options.compression);
  std::vector<image::OciImage> made;
  for (const auto& each : images) {
    image::rootfs_folders(store, each);
    made.push_back(image::make_oci_image(store, each, compression, processor_count()));
  }
  const std::string reference = options.reference.empty() ? images.front().name + ":latest" : options.reference;
  fs::path output = options.output;
  // "layout/" and "layout" are one place.
  if (!output.has_filename()) output = output.parent_path();
  const bool archive = output.extension() == ".tar";
  if (archive)
    image::write_archive(store, made, reference, images.front().spec.value("epoch", std::int64_t{0}), output);
  else
    image::write_layout(store, made, reference, output);
  Json sboms = Json::array();
  for (const auto& each : images) {
    // One image's is named after the file alone.
    const fs::path artifact = images.size() == 1 ? fs::path(output) : fs::path(output.native() + "." + each.name);
    sboms.push_back(bake::write_sbom_beside(store, each, artifact).native());
  }
  const std::string digest = made.size() == 1 ? made[0].manifest.digest : image::make_oci_index(store, made).index.digest;
  return {{{"output", output.native()},
           {"format", archive ? "oci-archive" : "oci"},
           {"reference", reference},
           {"digest", digest},
           {"sbom", sboms}},
          fmt::format("{} is in the {} {}: {}", reference, archive ? "archive" : "OCI layout", output.native(), digest)};
}

image::Disk disk_of(bake::Store& store, const std::vector<bake::Image>& images, const Options& options) {
  if (images.size() != 1) fail_usage("a disk is made of one image, found {}", images.size());
  bake::BakeOptions bake_options;
  bake_options.modules = config::SearchPath::for_modules({options.modules.begin(), options.modules.end()});
  return image::make_disk(store, images.front(), bake_options);
}

Export export_disk(bake::Store& store, const std::vector<bake::Image>& images, const Options& options) {
  image::require_programs(image::disk_format_programs(options.format), "a " + options.format + " disk");
  const auto disk = disk_of(store, images, options);
  image::write_disk(disk, options.format, options.output);
  return {{{"size_bytes", disk.size_bytes}, {"sbom", Json::array({bake::write_sbom_beside(store, disk.machine, options.output).native()})}},
          fmt::format("{} is the disk of image '{}', {}", options.output, images.front().name,
                      human_size(static_cast<std::uintmax_t>(disk.size_bytes)))};
}

Export export_gce(bake::Store& store, const std::vector<bake::Image>& images, const Options& options) {
  const auto disk = disk_of(store, images, options);
  const auto archive = image::make_gce_archive(store, disk, images.front());
  image::copy_file_in_one_step(archive.file, options.output);
  return {
      {{"size_bytes", archive.size_bytes}, {"sbom", Json::array({bake::write_sbom_beside(store, disk.machine, options.output).native()})}},
      fmt::format("{} is image '{}' for Compute Engine", options.output, images.front().name)};
}

struct Format {
  const char* name;
  Export (*write)(bake::Store& store, const std::vector<bake::Image>& images, const Options& options);
};
const std::vector<Format>& formats() {
  static const std::vector<Format> kFormats = [] {
    std::vector<Format> all = {{"oci", export_oci}, {"gce", export_gce}};
    for (const char* name : image::disk_formats()) all.push_back({name, export_disk});
    return all;
  }();
  return kFormats;
}

std::string format_words() {
  std::vector<std::string> names;
  for (const auto& format : formats()) names.emplace_back(format.name);
  return join(names, ", ");
}

Response run(const Options& options) {
  const auto format = std::find_if(formats().begin(), formats().end(), [&](const Format& each) { return options.format == each.name; });
  if (format == formats().end()) {
    UsageError error(fmt::format("there is no format '{}'", options.format));
    error.set_hint("there are: " + format_words());
    throw error;
  }
  bake::Store store;
  std::vector<bake::Image> images;
  // A disk is one image's: its name says which.
  if (options.format == "oci" || !options.architecture.empty())
    images = find_images(store, options.images, options.architecture);
  else
    for (const auto& name : options.images) images.push_back(find_image(store, name));
  const FileLock in_use = store.in_use();
  const Export made = format->write(store, images, options);
  Response response;
  response.json = {{"output", options.output}, {"format", options.format}};
  response.json.update(made.facts);
  response.text = made.words + "\n";
  return response;
}

const RegisterCommand command{
    {.name = "image export",
     .group = "Images",
     .summary = "write an image for others: container engines, hypervisors, clouds",
     .description =
         "For container engines (the default, oci): a name that ends in .tar gives one file, which `docker load`, `podman load` and\n"
         "`skopeo copy oci-archive:` read; any other gives an OCI layout: a folder that can hold several images. Several images, one for\n"
         "each architecture, are written as one; so are the images of a spec for several architectures.\n"
         "The other formats are the image's bootable disk, which is made where it is not there yet (docs/images.md).\n"
         "Beside each comes its bill of materials: PATH.spdx.json.",
     .examples = {{"kiln image export spark -o spark.tar", "then: docker load -i spark.tar"},
                  {"kiln image export spark -o layout --ref spark:4.1", "then: skopeo inspect oci:layout:4.1"},
                  {"kiln image export spark --format qcow2 -o spark.qcow2", "a disk for QEMU; raw, vmdk, vhd and vhdx for others"}},
     .define = [](CLI::App& app) {
       auto options = std::make_shared<Options>();
       app.add_option("IMAGE", options->images, "the image; several: one for each architecture")->required();
       app.add_option("-o,--output", options->output, "the file, or an OCI layout's folder")->required()->type_name("PATH");
       app.add_option("--format", options->format, format_words() + " (default: oci)")->type_name("NAME");
       app.add_option("--ref", options->reference, "oci: name and tag in it (default: IMAGE:latest)")->type_name("REF");
       app.add_option("--architecture", options->architecture, "only the image for this one (default: oci: all, a disk: IMAGE's own)")
           ->type_name("NAME");
       app.add_option("--compression", options->compression, "oci: of the layers, gzip (default) or zstd")->type_name("NAME");
       app.add_option("--modules", options->modules, "folder with modules of your own, for a disk; may be given again")
           ->type_name("DIR")
           ->expected(1)
           ->take_all();
       return [options] { return run(*options); };
     }}};

}  // namespace
}  // namespace kiln::cli
