// What a cell and its owner say to each other, over one socket, as JSON lines:
//   owner → cell   {"job": NAME, "arguments": …, "network": bool, "die": bool}
//   cell  → owner  {"pid": N}        the job's process, as the owner sees it
//                  {"event": {…}}    what the job published
//                  {"ready": …}      cell_ready(); nothing follows
//                  {"done": …}       what the job returned; nothing follows
//                  {"error": {"message", "context", "hint", "exit_code"}}
#pragma once

#include "base/error.h"
#include "base/json.h"

namespace kiln::container {

inline constexpr const char* kCellCommand = "__cell";

Json error_to_json(const std::exception& error);
// Throws what error_to_json was given: Error, UsageError or Interrupted.
[[noreturn]] void throw_error(const Json& json);

}  // namespace kiln::container
