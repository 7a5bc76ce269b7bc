// What a build with the network has of the machine that it runs on: the user's settings of Maven and pip (mirrors, proxies, credentials),
// and whom this machine trusts, which may be a certificate authority of a company's own. They are there while the scripts run, and never in
// a layer or its key.
#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace kiln::bake {

// Those that this machine has: path in the sandbox, without a leading '/' → file here.
std::map<std::string, std::filesystem::path> lent_files();

// Folders in which the tools that read these settings keep what they download: relative to the sandbox's root.
inline constexpr const char* kToolFolders[] = {"root/.m2", "root/.config/pip", "root/.pip"};

}  // namespace kiln::bake
