// kiln bake: an image from a spec.
#include <algorithm>

#include "bake/bake.h"
#include "base/activity.h"
#include "base/files.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "image/ami_build.h"
#include "image/targets.h"

namespace kiln::cli {
namespace {

struct Options {
  std::string spec;
  std::vector<std::string> modules, targets, regions, profiles;
  std::string compression = "gzip", on_error = "cleanup", push, lock_file, ami_list;
  std::size_t jobs = 0;
  bool explain = false, dry_run = false, plain_http = false, lock = false, locked = false;
};

Response run(const Options& options) {
  bake::Store store;
  const auto spec = config::load_image_spec(config::find_image_spec(options.spec));
  auto targets = options.targets.empty() ? spec.targets : options.targets;
  image::TargetOptions target_options;
  if (!options.push.empty()) {
    target_options.push_to = config::parse_reference(options.push);
    target_options.registry.plain_http = options.plain_http;
    if (std::find(targets.begin(), targets.end(), "oci") == targets.end()) targets.emplace_back("oci");
  }
  const bool wants_amis = std::find(targets.begin(), targets.end(), "ami") != targets.end();
  if (!wants_amis && (!options.regions.empty() || !options.profiles.empty() || !options.ami_list.empty()))
    fail_usage("--regions, --profile and --ami-list go with the target 'ami', which is not asked for");
  target_options.ami = spec.ami.value_or(target_options.ami);
  if (!options.regions.empty()) config::set_regions(target_options.ami, options.regions, "--regions");
  if (!options.profiles.empty()) target_options.ami.profiles = options.profiles;
  // What EC2 does not know for the architecture is told before anything is made.
  if (wants_amis) image::ami_kinds(target_options.ami, image::ec2_architecture(spec.architecture));
  target_options.ami_list = options.ami_list.empty() ? spec.file.parent_path() / "ami-list" : fs::absolute(options.ami_list);
  target_options.compression = image::parse_compression("--compression", options.compression);
  target_options.jobs = options.jobs;
  bake::BakeOptions bake_options;
  bake_options.modules = config::SearchPath::for_modules({options.modules.begin(), options.modules.end()});
  bake_options.jobs = options.jobs;
  bake_options.dry_run = options.dry_run;
  bake_options.on_error = bake::parse_on_error("--on-error", options.on_error);
  const fs::path lock_file = options.lock_file.empty() ? bake::default_lock_file(spec.file) : fs::path(options.lock_file);
  std::optional<bake::Lock> lock;
  if (options.locked) lock = bake::read_lock(lock_file);
  if (lock) bake_options.lock = &*lock;
  image::check_targets(targets, bake_options.lock);
  target_options.bake = bake_options;
  const double started = now_in_seconds();
  image::EarlyWork early(store, image::early_work_for(targets), target_options.compression);
  early.listen(bake_options);
  target_options.early = &early;
  target_options.started = started;
  const bake::BakeResult result = bake::bake(store, spec, bake_options);
  std::vector<image::TargetOutcome> made;
  if (!options.dry_run) made = image::make_targets(store, result.image, targets, target_options);
  const double seconds = now_in_seconds() - started;
  if (options.lock && !options.dry_run) {
    std::map<std::string, bake::Image> added;
    for (const auto& target : made) added.insert(target.added.begin(), target.added.end());
    write_file_atomically(lock_file, bake::lock_text(store, result.image, added));
  }

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
  if (options.dry_run && wants_amis) {
    response.json["ami"] = image::ami_plan(target_options.ami, spec.architecture);
    response.text += fmt::format("AMIs: {}\n", response.json["ami"].get<std::string>());
  }
  if (options.dry_run) return response;
  response.text += !all_there ? fmt::format("{} baked in {:.1f} s: {} layers, {}\n", spec.name, seconds, rows.size(),
                                            human_size(static_cast<std::uintmax_t>(size_bytes)))
                              : fmt::format("{} is up to date ({:.2f} s)\n", spec.name, seconds);
  response.text += target_words;
  if (options.lock) {
    response.json["lock"] = lock_file.native();
    response.text += fmt::format("  locked in {}\n", lock_file.native());
  }
  return response;
}

const RegisterCommand command{
    {.name = "bake",
     .group = "Images",
     .summary = "make a machine image from a spec",
     .description =
         "A spec names a base distribution and modules; each becomes a layer, built in a sandbox. A layer whose inputs did not change\n"
         "is used again: baking twice does nothing the second time.\n"
         "A lock file records what was baked: package versions, digests of sources, parameters. --locked bakes exactly that again, or "
         "says\n"
         "what can no longer be had.",
     .examples = {{"kiln bake images/spark.yaml", "bakes Spark's image"},
                  {"kiln bake spark --explain", "the spec that ships with kiln; says why each layer is built or reused"},
                  {"kiln bake spark --target oci", "as an image for container engines; `kiln image export` writes it out"},
                  {"kiln bake spark --push registry.example/spark:4.1", "… and sends it to a registry"},
                  {"kiln bake spark --target ami --regions all", "as AMIs in every region that the AWS account has enabled"},
                  {"kiln bake images/spark.yaml --lock", "and writes images/spark.lock.json; later: kiln bake images/spark.yaml --locked"},
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
       app.add_option("--regions", options->regions, "of the target ami: all, or names (default: the spec's, or the profile's)")
           ->type_name("R,…")
           ->delimiter(',');
       app.add_option("--profile", options->profiles, "whose AWS credentials; may be given again, one for each partition")
           ->type_name("NAME")
           ->expected(1)
           ->take_all();
       app.add_option("--ami-list", options->ami_list, "where the AMIs' ids are written down (default: ami-list beside the spec)")
           ->type_name("DIR");
       app.add_option("--compression", options->compression, "of OCI layers: gzip (default) or zstd")->type_name("NAME");
       app.add_option("-j,--jobs", options->jobs, "layers built at the same time (default: one a processor)")
           ->type_name("N")
           ->check(CLI::Range(1, 1024));
       app.add_flag("--explain", options->explain, "say why each layer is built or reused");
       auto* write = app.add_flag("--lock", options->lock, "write down what was baked, in the lock file");
       app.add_flag("--locked", options->locked, "bake exactly what the lock file says")->excludes(write);
       app.add_option("--lock-file", options->lock_file, "the lock file (default: the spec's name with .lock.json, beside it)")
           ->type_name("FILE");
       app.add_flag("--dry-run", options->dry_run, "only say what would be built");
       app.add_option("--on-error", options->on_error,
                      "the files of a step that failed: cleanup (default), keep, or shell (a shell in the step's sandbox)")
           ->type_name("WHAT");
       app.add_option("--push", options->push, "send the oci target to a registry, as soon as it is made")->type_name("REFERENCE");
       app.add_flag("--plain-http", options->plain_http, "talk to the registry without TLS");
       return [options] { return run(*options); };
     }}};

}  // namespace
}  // namespace kiln::cli
