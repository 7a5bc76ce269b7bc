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

}  // namespace

void add_cluster_options(CLI::App& app, ClusterOptions& options) {
  app.add_option("NAME", options.name, "the cluster's name: a-z, 0-9 and '-'")->required();
  app.add_option("-f,--file", options.file, "cluster spec; options win over it")->type_name("FILE");
  app.add_option("--on", options.provider, "where: local (this machine)")->type_name("PROVIDER");
  app.add_option("-i,--image", options.image, "image, or the spec of one (default: spark)")->type_name("IMAGE");
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
  app.add_option("--deploy-root", options.deploy_root, "folder with scripts (init.sh, setup.sh, run.sh) and packages/ to run on every node")
      ->type_name("DIR");
  app.add_option("--modules", options.modules, "folder with modules of your own, for what is baked or installed now")
      ->type_name("DIR")
      ->expected(1)
      ->take_all();
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
  for (const auto& param : options.params) add_param(spec, param);
  if (options.deploy_root) spec.deploy_root = *options.deploy_root;
  if (options.ttl) spec.ttl = config::parse_duration("--ttl", *options.ttl);
  config::check_cluster_spec(spec);
  return spec;
}

}  // namespace kiln::cli
