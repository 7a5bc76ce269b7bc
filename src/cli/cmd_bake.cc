// kiln bake: an image from a spec.
#include <algorithm>
#include <exception>
#include <functional>
#include <memory>

#include "bake/bake.h"
#include "base/activity.h"
#include "base/files.h"
#include "base/parallel.h"
#include "base/strings.h"
#include "cli/baked.h"
#include "cli/command.h"
#include "image/ami_build.h"
#include "image/targets.h"

namespace kiln::cli {
namespace {

struct Options {
  std::string spec;
  std::vector<std::string> modules, targets, architectures, regions, profiles;
  std::string compression = "gzip", on_error = "cleanup", push, lock_file, ami_list;
  std::size_t jobs = 0;
  bool explain = false, dry_run = false, plain_http = false, lock = false, locked = false;
};

// One image: of a spec for several architectures there are several. It stays where it is: its parts know each other.
struct OneBake {
  config::ImageSpec spec;
  fs::path lock_file;
  std::optional<bake::Lock> lock = {};
  bake::BakeOptions bake = {};
  image::TargetOptions target = {};
  std::unique_ptr<image::EarlyWork> early = {};
  Baked baked = {};
  std::exception_ptr thrown = {};
  OneBake(config::ImageSpec of, fs::path file) : spec(std::move(of)), lock_file(std::move(file)) {}
  OneBake(const OneBake&) = delete;
  OneBake& operator=(const OneBake&) = delete;
};
using Bakes = std::vector<std::unique_ptr<OneBake>>;

// The specs of the architectures that are asked for.
std::vector<config::ImageSpec> chosen_specs(const config::ImageSpec& spec, const std::vector<std::string>& chosen) {
  for (const auto& word : chosen) {
    if (std::find(spec.architectures.begin(), spec.architectures.end(), word) != spec.architectures.end()) continue;
    UsageError error(fmt::format("--architecture {}: '{}' is for {}", word, spec.file.filename().native(), join(spec.architectures, ", ")));
    error.set_hint("'architecture: [amd64, arm64]' in the spec makes it for both");
    throw error;
  }
  auto specs = config::specs_by_architecture(spec);
  std::erase_if(specs, [&](const config::ImageSpec& one) {
    return !chosen.empty() && std::find(chosen.begin(), chosen.end(), one.architecture) == chosen.end();
  });
  return specs;
}

// Each image has its own: spark.lock.json, spark-arm64.lock.json.
fs::path lock_file_for(const fs::path& file, const config::ImageSpec& spec, const std::string& architecture) {
  if (config::image_name_for(spec, architecture) == spec.name) return file;
  constexpr std::string_view kEnd = ".lock.json";
  const std::string name = file.filename();
  const std::string end = name.ends_with(kEnd) ? std::string(kEnd) : file.extension().string();
  return file.parent_path() / (name.substr(0, name.size() - end.size()) + "-" + architecture + end);
}

// Everything that can be wrong with what is asked for, before anything is made.
Bakes prepare(bake::Store& store, const Options& options, const config::ImageSpec& spec, const std::vector<std::string>& targets) {
  const bool wants_amis = std::find(targets.begin(), targets.end(), "ami") != targets.end();
  if (!wants_amis && (!options.regions.empty() || !options.profiles.empty() || !options.ami_list.empty()))
    fail_usage("--regions, --profile and --ami-list go with the target 'ami', which is not asked for");
  image::TargetOptions shared;
  if (!options.push.empty()) {
    shared.push_to = config::parse_reference(options.push);
    shared.registry.plain_http = options.plain_http;
  }
  shared.ami.spec = spec.ami.value_or(shared.ami.spec);
  if (!options.regions.empty()) config::set_regions(shared.ami.spec, options.regions, "--regions");
  if (!options.profiles.empty()) shared.ami.spec.profiles = options.profiles;
  shared.ami.list = options.ami_list.empty() ? spec.file.parent_path() / "ami-list" : fs::absolute(options.ami_list);
  shared.ami.image = spec.name;
  const auto& all = spec.architectures;
  shared.ami.is_beside_amd64 = all.size() > 1 && std::find(all.begin(), all.end(), "amd64") != all.end();
  shared.compression = image::parse_compression("--compression", options.compression);
  shared.jobs = options.jobs;
  shared.started = now_in_seconds();
  bake::BakeOptions bake_options;
  bake_options.modules = config::SearchPath::for_modules({options.modules.begin(), options.modules.end()});
  bake_options.jobs = options.jobs;
  bake_options.dry_run = options.dry_run;
  bake_options.on_error = bake::parse_on_error("--on-error", options.on_error);
  const fs::path lock_file = options.lock_file.empty() ? bake::default_lock_file(spec.file) : fs::path(options.lock_file);
  const auto specs = chosen_specs(spec, options.architectures);
  Bakes bakes;
  for (const auto& own : specs) {
    auto one = std::make_unique<OneBake>(own, lock_file_for(lock_file, spec, own.architecture));
    one->target = shared;
    if (specs.size() > 1) one->target.label = own.architecture;
    if (all.size() > 1) one->target.ami.spec = image::ami_spec_for_one_of_several(shared.ami.spec, own.architecture);
    // What EC2 does not know for the architecture is told before anything is made.
    if (wants_amis) image::ami_kinds(one->target.ami.spec, image::ec2_architecture(own.architecture));
    one->bake = bake_options;
    if (options.locked) one->lock = bake::read_lock(one->lock_file);
    if (one->lock) one->bake.lock = &*one->lock;
    image::check_targets(targets, one->bake.lock);
    one->target.bake = one->bake;
    one->early = std::make_unique<image::EarlyWork>(store, image::early_work_for(targets), shared.compression);
    one->early->listen(one->bake);
    one->target.early = one->early.get();
    one->baked.name = own.name;
    one->baked.architecture = own.architecture;
    if (wants_amis) one->baked.amis = image::ami_plan(one->target.ami.spec, own.architecture);
    bakes.push_back(std::move(one));
  }
  return bakes;
}

void make_targets_of(bake::Store& store, OneBake& one, const Options& options, const std::vector<std::string>& targets) {
  image::TargetOptions own = one.target;
  if (!own.label.empty()) own.push_to.reset();  // all are sent together
  if (!options.dry_run) one.baked.made = image::make_targets(store, one.baked.result.image, targets, own);
  if (!options.lock || options.dry_run) return;
  std::map<std::string, bake::Image> added;
  for (const auto& target : one.baked.made) added.insert(target.added.begin(), target.added.end());
  write_file_atomically(one.lock_file, bake::lock_text(store, one.baked.result.image, added));
  one.baked.lock_file = one.lock_file;
}

// Of several architectures one that fails leaves the others alone.
void attempt(OneBake& one, const std::function<void()>& work) {
  if (one.thrown) return;
  const double start = now_in_seconds();
  try {
    work();
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& error) {
    one.baked.failure = error;
    one.thrown = std::current_exception();
  }
  one.baked.seconds += now_in_seconds() - start;
}

// The first is thrown when there is nothing else to tell; the others are said, unless they are the same again.
void tell_failures(const Bakes& bakes) {
  const bool all_failed = std::all_of(bakes.begin(), bakes.end(), [](const auto& one) { return one->thrown != nullptr; });
  const Error* first = all_failed ? &*bakes.front()->baked.failure : nullptr;
  for (const auto& one : bakes) {
    const auto& failure = one->baked.failure;
    if (!failure || &*failure == first || (first != nullptr && failure->message() == first->message())) continue;
    say(fmt::format("{} ({}): {}{}", one->spec.name, one->spec.architecture, failure->what(),
                    failure->hint_text().empty() ? "" : "\n  hint: " + failure->hint_text()));
  }
  if (all_failed) std::rethrow_exception(bakes.front()->thrown);
}

// Layers one architecture after the other, since each keeps the machine busy; the targets, which also wait for others' machines, side by
// side.
Response bake_several(bake::Store& store, const Bakes& bakes, const Options& options, const std::vector<std::string>& targets,
                      const BakedWords& words) {
  for (const auto& one : bakes) attempt(*one, [&] { one->baked.result = bake::bake(store, one->spec, one->bake); });
  parallel_for(bakes.size(), bakes.size(),
               [&](std::size_t i) { attempt(*bakes[i], [&] { make_targets_of(store, *bakes[i], options, targets); }); });
  tell_failures(bakes);
  std::vector<Baked> all;
  std::vector<bake::Image> images;
  for (const auto& one : bakes) {
    all.push_back(one->baked);
    if (!one->baked.failure) images.push_back(one->baked.result.image);
  }
  std::vector<image::TargetOutcome> together;
  if (!options.dry_run && images.size() == all.size()) together = image::combine_targets(store, images, targets, bakes.front()->target);
  Response response = baked_response(all, together, words);
  if (images.size() != all.size() && std::find(targets.begin(), targets.end(), "oci") != targets.end())
    response.text += fmt::format("{}: no OCI index is made or sent, it holds all architectures or none\n", bakes.front()->spec.name);
  return response;
}

Response run(const Options& options) {
  bake::Store store;
  const auto spec = config::load_image_spec(config::find_image_spec(options.spec));
  auto targets = options.targets.empty() ? spec.targets : options.targets;
  if (!options.push.empty() && std::find(targets.begin(), targets.end(), "oci") == targets.end()) targets.emplace_back("oci");
  const Bakes bakes = prepare(store, options, spec, targets);
  const BakedWords words{options.explain, options.dry_run};
  if (bakes.size() > 1) return bake_several(store, bakes, options, targets, words);
  OneBake& one = *bakes.front();
  const double start = now_in_seconds();
  one.baked.result = bake::bake(store, one.spec, one.bake);
  make_targets_of(store, one, options, targets);
  one.baked.seconds = now_in_seconds() - start;
  return baked_response(one.baked, words);
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
         "what can no longer be had.\n"
         "A spec for several architectures makes an image for each: the first has the spec's name, the others NAME-ARCHITECTURE. As an "
         "OCI\n"
         "image they are one, behind an index; their AMIs have one name and one list.",
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
       app.add_option("--architecture", options->architectures, "of a spec for several: these only")->type_name("A,…")->delimiter(',');
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
