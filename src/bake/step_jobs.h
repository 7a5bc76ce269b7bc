// Names of the cell jobs of steps_inside.cc. `kBaseJob` and the others are defined there, beside the registrations: whoever calls a
// step refers to them, and so the linker keeps that file though the room is a static library.
#pragma once

namespace kiln::bake {

extern const char* const kBaseJob;
extern const char* const kRunJob;
extern const char* const kAgentJob;
extern const char* const kCompareJob;
extern const char* const kShellJob;

// In the work folder: which of the step's scripts failed.
inline constexpr const char* kFailedScript = "failed-script";

}  // namespace kiln::bake
