// A cell: a process in namespaces of its own that ends when told or when its owner dies, and with it everything inside: child
// processes (it is PID 1 of a PID namespace), mounts, network devices. Nothing that a killed kiln leaves behind in a cell survives,
// because the kernel removes it. Layers are built in cells, and each local cluster lives in one.
//
// A cell is the kiln program itself, started again as `kiln __cell` with a JSON job on a pipe: forking a process that has threads
// is not safe, starting one is. Every cell has PID, mount, IPC and UTS namespaces, mounts that don't propagate, a /proc and a /run of
// its own, and is a session of its own (no terminal). For an ordinary user the cell first enters a user namespace in which it is root, with
// the user's subordinate ids (/etc/subuid, by newuidmap) behind it.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/json.h"

namespace kiln::container {

struct CellOptions {
  bool network_namespace = false;  // else the host's network
  std::string architecture = {};   // programs of this one run inside (container/foreign.h); empty or the machine's own: nothing to do
  bool die_with_parent = true;     // false: lives on (a cluster's cell); it is then a session leader with standard output in `log_file`
  std::string log_file;            // standard output and error are appended to it; empty: the owner's
  std::vector<Fd> pass_fds;        // become descriptors 3, 4, … inside
};

// A cell's job: registered by name, called inside the cell as root of its namespaces with the JSON it was started with.
// What it returns is given back to the owner; an Error it throws is thrown at the owner.
using CellJob = std::function<Json(const Json& arguments)>;
struct RegisterCellJob {
  RegisterCellJob(std::string name, CellJob job);
};

// Runs the job and waits: its answer, or its Error. Events that the job publishes reach the owner's stream. Ctrl-C kills it → Interrupted.
Json run_in_cell(const std::string& job, const Json& arguments, CellOptions options = {});

// Starts a job that goes on: returns when it has called cell_ready(answer) inside, with that answer and its process id
// (as seen by the owner; killing it ends the cell). Error when it ended before. After cell_ready() the job's events go nowhere.
struct StartedCell {
  pid_t pid = 0;
  Json answer;
};
StartedCell start_cell(const std::string& job, const Json& arguments, CellOptions options);
void cell_ready(const Json& answer);

// First thing in main(): when the program was started as a cell, runs the job and exits; else returns.
void maybe_run_as_cell(int argc, char** argv);

// True for an ordinary user, whose cells have a user namespace; inside such a cell too.
bool is_rootless();

// Removes a tree whose files may belong to the user's subordinate ids, which only a cell can touch. Absent is fine.
void remove_tree_in_cell(const std::filesystem::path& path);

// What the host lacks for cells, containers and bakes, each with the command that mends it (`kiln doctor`).
struct Check {
  std::string name;
  bool ok = true;
  bool required = true;  // false: works without, with less
  std::string found;     // what was found
  std::string mend;      // how to mend it, when !ok
};
std::vector<Check> check_host();
// Throws Error with the first required check that fails, its mend as the hint.
void require_host();

}  // namespace kiln::container
