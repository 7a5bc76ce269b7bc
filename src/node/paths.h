// Where the agent's files are. All lie below one root ("/"; elsewhere when several agents share a machine, as tests do).
#pragma once

#include <filesystem>

namespace kiln::node {

struct Paths {
  std::filesystem::path root = "/";

  std::filesystem::path document() const { return root / "run/kiln/node.json"; }
  std::filesystem::path run() const { return root / "run/kiln"; }
  std::filesystem::path gates() const { return root / "run/kiln/gate"; }
  std::filesystem::path secrets() const { return root / "run/kiln/secrets"; }
  std::filesystem::path logs() const { return root / "var/log/kiln"; }
  std::filesystem::path state() const { return root / "var/lib/kiln"; }
  std::filesystem::path modules() const { return root / "usr/lib/kiln/modules"; }
  std::filesystem::path image() const { return root / "usr/lib/kiln/image.json"; }
  std::filesystem::path etc(const char* name) const { return root / "etc" / name; }
};

}  // namespace kiln::node
