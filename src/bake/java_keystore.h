// Java's trust store in Debian's packages, /etc/ssl/certs/java/cacerts, notes for each certificate when it was put in: the one file of an
// image that differs from bake to bake. Nobody reads these times; they are set to the epoch.
//
// Format JKS (sun.security.provider.JavaKeyStore), big-endian: u32 0xfeedfeed, u32 version, u32 count, then entries
//   u32 tag · UTF alias · u64 milliseconds · tag 2: certificate = [version 2: UTF type] u32 length bytes
//                                           tag 1: u32 length key · u32 count certificates
// and 20 bytes SHA-1 over password in UTF-16 · "Mighty Aphrodite" · all before. UTF: u16 length, bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace kiln::bake {

// The same store with every time set to `epoch` seconds and its entries sorted by alias. Nothing when the content is no such store or
// its password is not Debian's "changeit": then it is left as it is.
std::optional<std::string> clamp_keystore(const std::string& content, std::int64_t epoch);

}  // namespace kiln::bake
