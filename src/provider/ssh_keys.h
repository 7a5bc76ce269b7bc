// SSH keys that follow from a cluster's secret, so that nothing has to be kept or asked: whoever may read the secret (with the cloud's own
// rights) reaches the cluster, from any machine, and knows its host key before the first connection.
//
// A key is Ed25519 (RFC 8032), whose private half is any 32 bytes; here HMAC-SHA-256 of the secret and a purpose. Formats: RFC 8709 for the
// public line, OpenSSH's PROTOCOL.key for the private text.
#pragma once

#include <string>
#include <string_view>

namespace kiln::provider {

struct SshKey {
  std::string public_line;   // "ssh-ed25519 AAAA…", without comment or line end
  std::string private_text;  // -----BEGIN OPENSSH PRIVATE KEY----- …, without passphrase
};

// The same for the same secret and purpose ("host", "user").
SshKey derive_ssh_key(std::string_view secret, std::string_view purpose);

}  // namespace kiln::provider
