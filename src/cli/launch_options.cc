#include "cli/launch_options.h"

#include "config/names.h"

namespace kiln::cli {

namespace {

config::ModuleChoice& choice_of(config::ClusterSpec& spec, const std::string& module) {
  for (auto& choice : spec.modules) {
    if (choice.name == module) return choice;
  }
  spec.modules.emplace_back().name = module;
  return spec.modules.back();
}

// "spark.worker_memory=1g" → the module's parameter.
void add_param(config::ClusterSpec& spec, const std::string& text) {
  const auto equals = text.find('='), dot = text.find('.');
  if (equals == std::string::npos || dot == std::string::npos || dot > equals || dot == 0 || dot + 1 == equals) {
    UsageError error(fmt::format("--param {}: expected MODULE.PARAMETER=VALUE", text));
    error.set_hint("for example --param spark.worker_memory=1g");
    throw error;
  }
  const std::string module = text.substr(0, dot), name = text.substr(dot + 1, equals - dot - 1), value = text.substr(equals + 1);
  choice_of(spec, module).params[name] = value;
}

// Options of clusters on EC2, each with its key in a spec's `aws:`.
class AwsOptions {
 public:
  AwsOptions(CLI::App& app, ClusterOptions& options) : app_(app), options_(options) {}

  void text(const char* name, const char* key, const char* what, const char* type) { one<std::string>(name, key, what)->type_name(type); }
  void number(const char* name, const char* key, const char* what, const char* type) { one<int>(name, key, what)->type_name(type); }
  void flag(const char* name, const char* key, const char* what) {
    app_.add_flag_callback(
            name, [&options = options_, name, key] { set(options, name, key, true); }, what)
        ->group(kGroup);
  }
  void list(const char* name, const char* key, const char* what, const char* type) {
    many(name, what, type, [&options = options_, name, key](const std::vector<std::string>& values) { set(options, name, key, values); });
  }
  void pairs(const char* name, const char* key, const char* what, const char* type) {
    many(name, what, type, [&options = options_, name, key](const std::vector<std::string>& values) {
      Json members = Json::object();
      for (const auto& value : values) {
        const auto equals = value.find('=');
        if (equals == std::string::npos || equals == 0) fail_usage("{} {}: expected KEY=VALUE", name, value);
        members[value.substr(0, equals)] = value.substr(equals + 1);
      }
      set(options, name, key, members);
    });
  }

 private:
  static constexpr const char* kGroup = "On EC2 (--on aws)";
  static void set(ClusterOptions& options, const char* name, const char* key, Json value) {
    options.aws[key] = std::move(value);
    options.aws_option = name;
  }
  template <class Type>
  CLI::Option* one(const char* name, const char* key, const char* what) {
    return app_
        .add_option_function<Type>(
            name, [&options = options_, name, key](const Type& value) { set(options, name, key, value); }, what)
        ->group(kGroup);
  }
  void many(const char* name, const char* what, const char* type, std::function<void(const std::vector<std::string>&)> take) {
    app_.add_option_function<std::vector<std::string>>(name, std::move(take), what)
        ->type_name(type)
        ->expected(1)
        ->take_all()
        ->group(kGroup);
  }
  CLI::App& app_;
  ClusterOptions& options_;
};

void add_aws_options(CLI::App& app, ClusterOptions& options) {
  AwsOptions add(app, options);
  add.text("--region", "region", "region (default: as AWS's own tools find it)", "REGION");
  add.text("--profile", "profile", "profile of the AWS configuration", "NAME");
  add.text("--zone", "zone", "availability zone (default: the first with room); all: workers are spread over all", "ZONE");
  add.text("--network", "network", "a network of `kiln network` (default: the account's default VPC)", "NAME");
  add.text("--vpc", "vpc", "a VPC to be in", "ID");
  add.text("--subnet", "subnet", "a subnet to be in", "ID");
  add.text("--instance-type", "instance_type", "of workers (default: m7i.xlarge); of several, with commas, the first with room", "TYPE");
  add.text("--master-type", "master_type", "of masters (default: as workers)", "TYPE");
  add.list("--authorized", "authorized", "who may connect, as a range of addresses (default: the caller's own); may be given again",
           "CIDR");
  add.flag("--private", "private", "no public addresses: for those who have a way into the network");
  add.list("--security-group", "security_groups", "one more, by id or name; may be given again", "GROUP");
  add.text("--spot-price", "spot_price", "workers on the spot market, for at most so many dollars an hour; max: the price on demand",
           "PRICE");
  add.flag("--spot-fallback", "spot_fallback", "on demand where the spot market has no room, or costs more");
  add.flag("--spot-masters", "spot_masters", "masters on the spot market, too");
  add.number("--volumes", "volumes", "EBS volumes of each node (default: 0)", "N");
  add.number("--volume-size", "volume_size", "of each volume (default: 100)", "GIB");
  add.text("--volume-type", "volume_type", "gp3 (the default), gp2, io2, io1, st1, sc1", "TYPE");
  add.number("--volume-iops", "volume_iops", "of each volume", "N");
  add.number("--volume-throughput", "volume_throughput", "of each volume, MiB/s", "N");
  add.number("--root-size", "root_size", "of each node's root (default: the image's)", "GIB");
  add.text("--user", "user", "of a stock image: whom it lets in by SSH (default: as its makers say)", "NAME");
  add.text("--install", "install", "of a stock image: the image spec whose modules it gets (default: spark)", "IMAGE");
  add.text("--placement-group", "placement_group", "a placement group to be in", "NAME");
  add.text("--key-pair", "key_pair", "a key pair of EC2's for root, beside the cluster's own key", "NAME");
  add.text("--instance-profile", "instance_profile", "an instance profile, whose role the nodes have; auto: one is made (--s3)", "NAME");
  add.list("--s3", "s3", "what the nodes may list, read and write in S3, with --instance-profile auto; may be given again",
           "BUCKET[/PREFIX]");
  add.text("--shutdown", "shutdown", "what becomes of a machine that shuts down from within: terminate (the default) or stop", "WHAT");
  add.pairs("--tag", "tags", "a tag of machines and volumes; may be given again", "KEY=VALUE");
}

}  // namespace

void add_cluster_options(CLI::App& app, ClusterOptions& options) {
  app.add_option("NAME", options.name, "the cluster's name: a-z, 0-9 and '-'")->required();
  app.add_option("-f,--file", options.file, "cluster spec; options win over it")->type_name("FILE");
  app.add_option("--on", options.provider, "where: local (this machine, the default) or aws")->type_name("PROVIDER");
  app.add_option("-i,--image", options.image,
                 "image, or the spec of one (default: spark); on EC2 a distribution's own, too: debian-13, ssm:/PARAMETER")
      ->type_name("IMAGE");
  app.add_option("-w,--workers", options.workers, "workers (default: 2)")->type_name("N");
  app.add_option("--masters", options.masters, "masters (default: 1)")->type_name("N");
  app.add_option("--node-cpus", options.node_cpus, "processors of each node (default: all of this machine's)")->type_name("N");
  app.add_option("--node-memory", options.node_memory, "memory of each node, such as 2g (default: its share)")->type_name("SIZE");
  app.add_option("--master-cpus", options.master_cpus, "processors of a master, where it differs")->type_name("N");
  app.add_option("--master-memory", options.master_memory, "memory of a master, where it differs")->type_name("SIZE");
  app.add_option("-p,--param", options.params, "a module's parameter: spark.worker_memory=1g; may be given again")
      ->type_name("M.P=V")
      ->expected(1)
      ->take_all();
  app.add_option("--with", options.with, "a module to have on the nodes, installed now where the image lacks it; may be given again")
      ->type_name("MODULE")
      ->expected(1)
      ->take_all();
  app.add_option("--ttl", options.ttl, "the cluster removes itself after this time: 90m, 8h")->type_name("TIME");
  app.add_option("--idle", options.idle, "the cluster removes itself when nothing has gone on for this time: 30m")->type_name("TIME");
  app.add_option("--worker-instances", options.worker_instances, "Spark workers of each node (default: 1): -p spark.worker_instances=N")
      ->type_name("N");
  app.add_option("--master-opts", options.master_opts, "Java options of Spark's master: -p spark.master_opts=OPTIONS")
      ->type_name("OPTIONS");
  app.add_option("--swap", options.swap, "swap of each node, where nodes are machines: 4g")->type_name("SIZE");
  app.add_option("--user-data", options.user_data, "script that each node runs once, before its modules are set up")->type_name("FILE");
  app.add_option("--deploy-root", options.deploy_root, "folder with scripts (init.sh, setup.sh, run.sh) and packages/ to run on every node")
      ->type_name("DIR");
  app.add_option("--modules", options.modules, "folder with modules of your own, for what is baked or installed now")
      ->type_name("DIR")
      ->expected(1)
      ->take_all();
  add_aws_options(app, options);
}

config::ClusterSpec to_cluster_spec(const ClusterOptions& options) {
  config::ClusterSpec spec;
  if (!options.file.empty()) spec = config::load_cluster_spec(options.file);
  config::check_cluster_name(options.name);
  spec.name = options.name;
  if (options.provider) spec.provider = *options.provider;
  if (options.image) spec.image = *options.image;
  if (options.masters) spec.masters = *options.masters;
  if (options.workers) spec.workers = *options.workers;
  if (options.node_cpus) spec.node.cpus = *options.node_cpus;
  if (options.node_memory) spec.node.memory_bytes = config::parse_size_bytes("--node-memory", *options.node_memory);
  if (options.master_cpus || options.master_memory) {
    config::Resources master = spec.master.value_or(spec.node);
    if (options.master_cpus) master.cpus = *options.master_cpus;
    if (options.master_memory) master.memory_bytes = config::parse_size_bytes("--master-memory", *options.master_memory);
    spec.master = master;
  }
  for (const auto& module : options.with) {
    config::check_module_name(module);
    choice_of(spec, module);
  }
  if (options.worker_instances) choice_of(spec, "spark").params["worker_instances"] = std::to_string(*options.worker_instances);
  if (options.master_opts) choice_of(spec, "spark").params["master_opts"] = *options.master_opts;
  for (const auto& param : options.params) add_param(spec, param);
  if (options.deploy_root) spec.deploy_root = *options.deploy_root;
  if (options.swap) spec.swap_bytes = config::parse_size_bytes("--swap", *options.swap);
  if (options.user_data) spec.user_data = config::read_user_data(*options.user_data);
  if (options.ttl) spec.ttl = config::parse_duration("--ttl", *options.ttl);
  if (options.idle) spec.idle = config::parse_duration("--idle", *options.idle);
  if (!options.aws.empty()) {
    if (spec.provider != "aws") fail_usage("{}: only clusters on EC2 have that (--on aws)", options.aws_option);
    Json aws = config::aws_spec_to_json(spec.aws);
    aws.update(options.aws);
    spec.aws = config::aws_spec_from_json(config::JsonReader(aws, "options"));
  }
  config::check_cluster_spec(spec);
  return spec;
}

}  // namespace kiln::cli
