// kiln bake: an image from a spec.
#include "bake/bake.h"
#include "base/activity.h"
#include "base/files.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "image/targets.h"

namespace kiln::cli {
namespace {

struct Options {
  std::string spec;
  std::vector<std::string> modules, targets;
  std::string compression = "gzip";
  std::size_t jobs = 0;
  bool explain = false, dry_run = false, keep_failed = false;
};

Response run(const Options& options) {
  bake::Store store;
  const auto spec = config::load_image_spec(config::find_image_spec(options.spec));
  const auto& targets = options.targets.empty() ? spec.targets : options.targets;
  image::check_targets(targets);
  image::TargetOptions target_options;
  target_options.compression = image::parse_compression("--compression", options.compression);
  target_options.jobs = options.jobs;
  bake::BakeOptions bake_options;
  bake_options.modules = config::SearchPath::for_modules({options.modules.begin(), options.modules.end()});
  bake_options.jobs = options.jobs;
  bake_options.dry_run = options.dry_run;
  bake_options.keep_failed = options.keep_failed;
  const double started = now_in_seconds();
  const bake::BakeResult result = bake::bake(store, spec, bake_options);
  std::vector<image::TargetOutcome> made;
  if (!options.dry_run) made = image::make_targets(store, result.image, targets, target_options);
  const double seconds = now_in_seconds() - started;

  Response response;
  Json layers = Json::array();
  std::vector<std::vector<std::string>> rows;
  std::int64_t size_bytes = 0;
  for (const auto& outcome : result.layers) {
    layers.push_back({{"name", outcome.layer.name},
                      {"key", outcome.layer.key},
                      {"reused", outcome.reused},
                      {"why", outcome.why},
                      {"seconds", outcome.seconds},
                      {"size_bytes", outcome.layer.size_bytes}});
    const char* verb = outcome.reused ? "reused" : options.dry_run ? "to build" : "built";
    rows.push_back({outcome.layer.name, verb, outcome.reused ? "" : fmt::format("{:.1f} s", outcome.seconds),
                    human_size(static_cast<std::uintmax_t>(outcome.layer.size_bytes)), outcome.why});
    size_bytes += outcome.layer.size_bytes;
  }
  Json target_facts = Json::object();
  std::string target_words;
  bool all_there = !result.changed;
  for (const auto& target : made) {
    target_facts[target.name] = target.facts;
    target_facts[target.name]["reused"] = target.reused;
    target_facts[target.name]["seconds"] = target.seconds;
    all_there = all_there && target.reused;
    if (target.name != "rootfs") target_words += fmt::format("  {}: {}\n", target.name, target.words);
  }
  response.json = {{"image", result.image.name}, {"digest", result.image.digest}, {"changed", result.changed}, {"seconds", seconds},
                   {"layers", layers},           {"targets", target_facts}};
  if (options.explain || options.dry_run) response.text = format_table({"layer", "", "time", "size", "why"}, rows);
  if (options.dry_run) return response;
  response.text += !all_there ? fmt::format("{} baked in {:.1f} s: {} layers, {}\n", spec.name, seconds, rows.size(),
                                            human_size(static_cast<std::uintmax_t>(size_bytes)))
                              : fmt::format("{} is up to date ({:.2f} s)\n", spec.name, seconds);
  response.text += target_words;
  return response;
}

const RegisterCommand command{
    {.name = "bake",
     .group = "Images",
     .summary = "make a machine image from a spec",
     .description =
         "A spec names a base distribution and modules; each becomes a layer, built in a sandbox. A layer whose inputs did not change\n"
         "is used again: baking twice does nothing the second time.",
     .examples = {{"kiln bake images/spark.yaml", "bakes Spark's image"},
                  {"kiln bake spark --explain", "the spec that ships with kiln; says why each layer is built or reused"},
                  {"kiln bake spark --target oci", "as an image for container engines; `kiln image export` writes it out"},
                  {"kiln bake spark --dry-run", "says what would be built, and builds nothing"}},
     .define = [](CLI::App& app) {
       auto options = std::make_shared<Options>();
       app.add_option("SPEC", options->spec, "a spec's file, or the name of one that ships with kiln")->required();
       app.add_option("--modules", options->modules, "folder with modules of your own; may be given again")
           ->type_name("DIR")
           ->expected(1)
           ->take_all();
       app.add_option("--target", options->targets, "what to make of it: " + join(image::target_names(), ", ") + " (default: the spec's)")
           ->type_name("T,…")
           ->delimiter(',');
       app.add_option("--compression", options->compression, "of OCI layers: gzip (default) or zstd")->type_name("NAME");
       app.add_option("-j,--jobs", options->jobs, "layers built at the same time (default: one a processor)")
           ->type_name("N")
           ->check(CLI::Range(1, 1024));
       app.add_flag("--explain", options->explain, "say why each layer is built or reused");
       app.add_flag("--dry-run", options->dry_run, "only say what would be built");
       app.add_flag("--keep-failed", options->keep_failed, "leave the files of a failed step, to look at them");
       return [options] { return run(*options); };
     }}};

}  // namespace
}  // namespace kiln::cli
