// kiln network create, list, show, export, destroy: what many clusters share.
#include "base/files.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "provider/networks.h"

namespace kiln::cli {
namespace {

struct Options {
  std::string provider;
  provider::NetworkPlace place;
  std::string id, folder;
  provider::NetworkRequest request;
};

std::unique_ptr<provider::Networks> networks(const Options& options) { return provider::make_networks(options.provider, options.place); }

void add_place(CLI::App& app, Options& options) {
  const auto places = provider::providers_with_networks();
  options.provider = places.empty() ? "" : places.front();
  app.add_option("--on", options.provider, fmt::format("where: {} (default: {})", join(places, ", "), options.provider))
      ->type_name("PROVIDER");
  app.add_option("-r,--region", options.place.region, "region (default: as the provider's own tools find it)")->type_name("REGION");
  app.add_option("--profile", options.place.profile, "whose account: a profile of the provider's configuration files")->type_name("NAME");
}

void add_name(CLI::App& app, Options& options) {
  app.add_option("NAME", options.request.name, "the network's name: a-z, 0-9 and '-'")->required();
}

// One of ours by name, or anybody's by id.
void add_name_or_id(CLI::App& app, Options& options) {
  app.add_option("NAME", options.request.name, "the network's name");
  app.add_option("--vpc", options.id, "instead of a name: a VPC that kiln did not make, by its id; it is only looked at")->type_name("ID");
}

void require_one(const Options& options) {
  if (options.request.name.empty() == options.id.empty()) fail_usage("give a network's name, or --vpc ID");
}

Json part_to_json(const provider::NetworkPart& part) {
  Json json = {{"kind", part.kind}, {"id", part.id}};
  for (const auto& [key, value] : {std::pair("zone", part.zone), std::pair("cidr", part.cidr), std::pair("note", part.note)}) {
    if (!value.empty()) json[key] = value;
  }
  return json;
}

Json to_json(const provider::Network& network) {
  Json parts = Json::array(), others = Json::array();
  for (const auto& part : network.parts) parts.push_back(part_to_json(part));
  for (const auto& part : network.others) others.push_back({{"id", part.id}, {"what", part.note}});
  return {{"network", network.name}, {"id", network.id},           {"region", network.region}, {"cidr", network.cidr},  {"parts", parts},
          {"others", others},        {"missing", network.missing}, {"advice", network.advice}, {"users", network.users}};
}

std::string lines(const std::string& heading, const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += fmt::format("{}: {}\n", heading, word);
  return text;
}

Response created(const Options& options) {
  const auto change = networks(options)->create(options.request);
  const std::string& name = options.request.name;
  Response response;
  response.json = to_json(change.network);
  response.json["changed"] = !change.done.empty() && !options.request.dry_run;
  response.json[options.request.dry_run ? "would_do" : "done"] = change.done;
  if (options.request.dry_run) {
    response.text = change.done.empty() ? fmt::format("{} is whole; nothing would be done\n", name) : lines("would make", change.done);
  } else if (change.done.empty()) {
    response.text =
        fmt::format("{} was whole already: {}, {} in {}\n", name, change.network.id, change.network.cidr, change.network.region);
  } else {
    response.text = lines("made", change.done) + fmt::format("{} is ready: {}, {} in {}; `kiln network show {}` says what is in it\n", name,
                                                             change.network.id, change.network.cidr, change.network.region, name);
  }
  return response;
}

Response shown(const Options& options) {
  require_one(options);
  const auto found = networks(options);
  std::optional<provider::Network> network;
  if (options.id.empty()) {
    network = found->find(options.request.name);
  } else {
    network = found->find_by_id(options.id);
  }
  if (!network) {
    UsageError error(fmt::format("there is no network '{}' in this region", options.request.name));
    error.set_hint(fmt::format("`kiln network create {}` makes it; `kiln network list` says which there are", options.request.name));
    throw error;
  }
  Response response;
  response.json = to_json(*network);
  response.json["whole"] = network->missing.empty();
  std::vector<std::vector<std::string>> rows;
  for (const auto& part : network->parts) rows.push_back({part.kind, part.id, part.zone, part.cidr, part.note});
  response.text = fmt::format("{} in {}\n\n", network->name.empty() ? network->id : network->name, network->region) +
                  format_table({"part", "id", "zone", "addresses", ""}, rows) + "\n";
  for (const auto& other : network->others) response.text += fmt::format("not kiln's: {}\n", other.note);
  response.text += lines("in use by", network->users) + lines("missing", network->missing) + lines("advice", network->advice);
  if (network->missing.empty()) {
    response.text += network->name.empty() ? "clusters can be launched in it\n" : "it is whole\n";
  } else if (!network->name.empty()) {
    response.text += fmt::format("`kiln network create {}` makes what is missing\n", network->name);
  }
  return response;
}

Response listed(const Options& options) {
  Response response;
  response.json = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const auto& network : networks(options)->list()) {
    response.json.push_back({{"name", network.name}, {"id", network.id}, {"cidr", network.cidr}, {"parts", network.parts}});
    rows.push_back({network.name, network.id, network.cidr, std::to_string(network.parts)});
  }
  response.text =
      rows.empty() ? "no networks here; `kiln network create NAME` makes one\n" : format_table({"name", "id", "addresses", "parts"}, rows);
  return response;
}

Response destroyed(const Options& options) {
  const std::string& name = options.request.name;
  const auto removal = networks(options)->destroy(name, options.request.dry_run);
  Response response;
  response.json = {
      {"network", name}, {"changed", removal.was_there && !options.request.dry_run}, {"removed", removal.removed}, {"left", removal.left}};
  if (!removal.was_there) {
    response.text = fmt::format("there was no network '{}'\n", name);
    return response;
  }
  response.text = lines(options.request.dry_run ? "would remove" : "removed", removal.removed) +
                  lines(options.request.dry_run ? "would stay" : "stays", removal.left);
  if (options.request.dry_run) return response;
  if (removal.left.empty()) {
    response.text += fmt::format("{} is gone\n", name);
  } else {
    response.text += fmt::format("{} is not gone: remove what is not kiln's, and destroy it again\n", name);
    response.exit_code = static_cast<int>(ExitCode::kFailed);
  }
  return response;
}

Response exported(const Options& options) {
  require_one(options);
  const std::string text = networks(options)->to_terraform(options.request.name, options.id);
  make_folder(options.folder);
  const fs::path file = fs::path(options.folder) / "main.tf";
  write_file_atomically(file, text);
  return {{{"file", file.native()}},
          fmt::format("{0} is written; in {1}: terraform init && terraform plan\n", file.native(), options.folder)};
}

auto with(Response (*run)(const Options&), void (*add)(CLI::App&, Options&)) {
  return [run, add](CLI::App& app) {
    auto options = std::make_shared<Options>();
    add(app, *options);
    add_place(app, *options);
    return std::function<Response()>([options, run] { return run(*options); });
  };
}

const RegisterCommand create_command{
    {.name = "network create",
     .group = "Networks",
     .summary = "make the network that clusters share, or what is missing of it",
     .description =
         "A VPC with DNS host names, a subnet in each zone, an internet gateway, an S3 gateway endpoint, a route table and a security\n"
         "group that lets nothing in. It costs nothing while it is empty. Done again it changes nothing; after an interruption it goes on.",
     .examples = {{"kiln network create main", "in the region that is set, in all its zones"},
                  {"kiln network create main -r eu-central-1 --cidr 10.8.0.0/20 --zones a,b", ""},
                  {"kiln network create main --dry-run", "only says what would be made"}},
     .define = with(created, [](CLI::App& app, Options& options) {
       add_name(app, options);
       app.add_option("--cidr", options.request.cidr, "its addresses, an eighth for each zone (default: 10.42.0.0/16)")->type_name("CIDR");
       app.add_option("--zones", options.request.zones, "zones to have a subnet in, such as a,b (default: all of the region)")
           ->type_name("ZONES")
           ->delimiter(',');
       app.add_flag("--dry-run", options.request.dry_run, "only say what would be made");
     })}};

const RegisterCommand list_command{{.name = "network list",
                                    .group = "Networks",
                                    .summary = "list the networks of a region",
                                    .examples = {{"kiln network list -r eu-central-1", ""}},
                                    .define = with(listed, [](CLI::App&, Options&) {})}};

const RegisterCommand show_command{
    {.name = "network show",
     .group = "Networks",
     .summary = "show a network's parts, who is in it, and what it lacks",
     .description = "With --vpc: what clusters need of a VPC that kiln did not make, and what of that is missing. Nothing is changed.",
     .examples = {{"kiln network show main", ""}, {"kiln network show --vpc vpc-0a1b2c3d", "can clusters be launched there?"}},
     .define = with(shown, add_name_or_id)}};

const RegisterCommand export_command{
    {.name = "network export",
     .group = "Networks",
     .summary = "write a network down for Terraform, with import blocks",
     .description =
         "The folder gets a main.tf (Terraform 1.5 or later) with a resource and an import block for each part, so that Terraform\n"
         "takes over what is there. kiln goes on using it: it knows its networks by their tags.",
     .examples = {{"kiln network export main --terraform network/", ""}},
     .define = with(exported, [](CLI::App& app, Options& options) {
       add_name_or_id(app, options);
       app.add_option("--terraform", options.folder, "folder to write main.tf into")->type_name("DIR")->required();
     })}};

const RegisterCommand destroy_command{
    {.name = "network destroy",
     .group = "Networks",
     .summary = "remove a network and everything of it",
     .description =
         "Not while a cluster or anything else is in it: it says who. What kiln did not make stays, with what that stands on, and exit\n"
         "code 1 says so. A network that is not there is not an error: the aim is reached.",
     .examples = {{"kiln network destroy main", ""}},
     .define = with(destroyed, [](CLI::App& app, Options& options) {
       add_name(app, options);
       app.add_flag("--dry-run", options.request.dry_run, "only say what would be removed");
     })}};

}  // namespace
}  // namespace kiln::cli
