// kiln's main: dispatches once, catches once, and says it once.
#include <csignal>
#include <new>

#include "base/interrupt.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "container/cell.h"

int main(int argc, char** argv) {
  kiln::container::maybe_run_as_cell(argc, argv);
  kiln::catch_interrupts();
  try {
    return kiln::cli::dispatch({argv + 1, argv + argc});
  } catch (const kiln::Error& error) {
    kiln::cli::print_error(error, kiln::cli::global_options().json);
    return static_cast<int>(error.exit_code());
  } catch (const std::bad_alloc&) {
    kiln::cli::print_error(kiln::Error("out of memory"), false);
  } catch (const std::exception& error) {
    // A fault of kiln itself, not of the user: say so, with what is known.
    kiln::cli::print_error(kiln::Error(fmt::format("internal error: {}", error.what())), kiln::cli::global_options().json);
  }
  return static_cast<int>(kiln::ExitCode::kFailed);
}
