// Containers by runc, inside a cell: the OCI bundle's config.json from a short description.
#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/process.h"

namespace kiln::container {

struct Bind {
  std::filesystem::path from, to;
  bool read_only = true;
};

struct ContainerSpec {
  std::string id;
  std::filesystem::path root;  // mounted already; /proc, /dev, /sys and an empty /run are mounted in it, then the binds
  std::vector<std::string> argv;
  std::map<std::string, std::string> env;
  std::string hostname;
  std::string directory = "/";
  std::vector<Bind> binds;
  // "": a new network namespace with loopback only; "host": the cell's own (then /sys is empty); else the path of a namespace
  std::string network;
  double cpus = 0;  // limits; 0: none. Given only where cgroups can be had (root)
  std::int64_t memory_bytes = 0;
  std::string cgroup;  // below each controller, e.g. "/kiln/demo/worker-1"
  bool terminal = false;
};

// The config.json. No rlimits, and without resources and cgroupsPath for an ordinary user: those are refused there.
Json runc_config(const ContainerSpec& spec);

// `runc run` in the foreground with output to `options`; returns when the container's process ends.
ProcessResult run_container(const ContainerSpec& spec, const std::filesystem::path& bundle, const ProcessOptions& options = {});

// The same with these descriptors, which may be a terminal, as its standard input, output and error. Its exit code. Only for PID 1 of a
// cell.
int run_container_on(const ContainerSpec& spec, const std::filesystem::path& bundle, const std::array<int, 3>& standard_fds);

// `runc run --detach`: the container's process id in the cell; output goes to `log_file`.
pid_t start_container(const ContainerSpec& spec, const std::filesystem::path& bundle, const std::filesystem::path& log_file);
// Kills and removes it; absent is fine.
void remove_container(const std::string& id);

}  // namespace kiln::container
