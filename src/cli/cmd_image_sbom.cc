// kiln image sbom: what is in an image, for those who look for what must be patched.
#include "bake/sbom.h"
#include "base/files.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/find_image.h"

namespace kiln::cli {
namespace {

struct Options {
  std::string image, format = "spdx", output;
};

const bake::SbomFormat& find_format(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& format : bake::sbom_formats()) {
    if (name == format.name) return format;
    names.emplace_back(format.name);
  }
  UsageError error(fmt::format("--format {}: there is no such format", name));
  const auto near = nearest(name, names);
  error.set_hint(near ? "did you mean '" + *near + "'?" : "one of " + join(names, ", "));
  throw error;
}

Response run(const Options& options) {
  const auto& format = find_format(options.format);
  const bake::Store store;
  const auto image = find_image(store, options.image);
  const FileLock in_use = store.in_use();
  const bake::Bill bill = bake::bill_of(store, image);
  const std::string text = format.text(bill);
  Response response;
  if (options.output.empty()) {
    response.json = Json::parse(text);
    response.text = text;
    return response;
  }
  write_file_atomically(options.output, text);
  response.json = {{"output", options.output}, {"format", format.name}, {"packages", bill.packages.size()}};
  response.text = fmt::format("{}: {} distribution packages, {} Python packages, {} Java archives, {} modules\n", options.output,
                              bill.packages.size(), bill.python.size(), bill.jars.size(), bill.modules.size());
  return response;
}

const RegisterCommand command{
    {.name = "image sbom",
     .group = "Images",
     .summary = "print an image's bill of materials",
     .description = "Distribution packages, Python packages, Java archives, modules with their parameters, and the sources they were made\n"
                    "from with their digests. Every image holds its own, as SPDX, in /usr/lib/kiln/sbom.spdx.json: the same bytes.",
     .examples = {{"kiln image sbom spark -o spark.spdx.json", "SPDX 2.3"},
                  {"kiln image sbom spark --format cyclonedx", "CycloneDX 1.5, to standard output"}},
     .define = [](CLI::App& app) {
       auto options = std::make_shared<Options>();
       app.add_option("IMAGE", options->image, "the image")->required();
       app.add_option("--format", options->format, "spdx (default) or cyclonedx")->type_name("NAME");
       app.add_option("-o,--output", options->output, "the file (default: standard output)")->type_name("FILE");
       return [options] { return run(*options); };
     }}};

}  // namespace
}  // namespace kiln::cli
