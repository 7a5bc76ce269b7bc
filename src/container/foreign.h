// Programs of another architecture, run by QEMU's user-mode emulation.
//
// The kernel starts an interpreter for a foreign program where binfmt_misc is told to (Linux, admin-guide/binfmt-misc.rst). Each user
// namespace can have a binfmt_misc of its own (Linux 6.7): a cell for a foreign architecture registers the emulator in its own, so that
// nothing on the machine is changed, no root is needed, and nothing is left. The flag F opens the emulator at once, so that it is found
// from within any root; P keeps the name by which a program was called. On older kernels what the machine has registered counts.
#pragma once

#include <string>

namespace kiln::container {

// "arm64", "amd64": is it not this machine's? "" is not.
bool is_foreign(const std::string& architecture);

// Inside a cell, whose user namespace is its own: from now on programs of that architecture run. Error with what to install when they
// cannot.
void run_foreign_programs(const std::string& architecture);

}  // namespace kiln::container
