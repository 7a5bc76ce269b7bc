#include "node/ssh_access.h"

#include <csignal>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

namespace kiln::node {

namespace {

constexpr const char* kHostKey = "ssh/ssh_host_ed25519_key";

// sshd reads its keys and settings anew at SIGHUP; connections stay.
void tell_server(const Paths& paths) {
  const std::string text(trim(read_file_if_there(paths.root / "run/sshd.pid").value_or("")));
  const bool number = !text.empty() && text.size() < 8 && text.find_first_not_of("0123456789") == std::string::npos;
  if (number && std::stoi(text) > 1) ::kill(std::stoi(text), SIGHUP);
}

void add_lines(const std::filesystem::path& file, const std::vector<std::string>& lines) {
  std::string text = read_file_if_there(file).value_or("");
  if (!text.empty() && !text.ends_with('\n')) text += '\n';
  const auto present = split(text, '\n');
  for (const auto& line : lines) {
    if (std::find(present.begin(), present.end(), line) == present.end()) text += line + "\n";
  }
  write_file_atomically(file, text, 0600);
}

}  // namespace

void apply_ssh(const Paths& paths, const config::NodeDocument::Ssh& ssh) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(paths.etc("ssh"), ignored)) return;
  const auto key = paths.etc(kHostKey);
  if (read_file_if_there(key) != ssh.host_key) {
    // Made by the machine itself before it knew whose it is.
    std::filesystem::remove(key.native() + ".pub", ignored);
    write_file_atomically(key, ssh.host_key, 0600);
    tell_server(paths);
  }
  make_folder(paths.root / "root/.ssh", 0700);
  add_lines(paths.root / "root/.ssh/authorized_keys", ssh.authorized_keys);
}

}  // namespace kiln::node
