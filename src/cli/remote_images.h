// --on PLACE of the image commands: options, and what they say.
#pragma once

#include <memory>
#include <string>

#include "cli/command.h"
#include "image/remote_images.h"

namespace kiln::cli {

struct RemoteChoice {
  std::string place;  // empty: this machine's store
  image::RemoteOptions options = {};
};

// --on, --regions, --profile.
void add_remote_options(CLI::App& app, RemoteChoice& choice);
// --ami-list, --dry-run.
void add_remote_change_options(CLI::App& app, RemoteChoice& choice);
std::unique_ptr<image::RemoteImages> open_remote(const RemoteChoice& choice);

Response list_remote_images(const RemoteChoice& choice, const std::string& name);
// Exit code 1 where a region failed.
Response remote_response(const RemoteChoice& choice, const image::RemoteChange& change);

}  // namespace kiln::cli
