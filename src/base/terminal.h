// The user's terminal, while something else is to be worked with through it.
#pragma once

#include <termios.h>

#include <csignal>
#include <functional>

#include "base/fd.h"

namespace kiln {

struct TerminalSize {
  unsigned short rows = 24, columns = 80;
};

// Standard input and output are a terminal.
bool has_terminal();
// Of the terminal at standard input; 24 × 80 when there is none.
TerminalSize terminal_size();

// The terminal at standard input passes every key on, unchanged, for as long as this lives; when its size changes, the process gets
// SIGWINCH (which ends a poll() with EINTR) and size_changed() says so once.
class RawTerminal {
 public:
  // `wanted` false: does nothing.
  explicit RawTerminal(bool wanted);
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  bool size_changed();

 private:
  termios before_{};
  struct sigaction old_action_ {};
  bool active_;
};

// A terminal of another's, joined to ours: what is typed goes there, what it shows comes here.
class PseudoTerminal {
 public:
  PseudoTerminal();
  const Fd& theirs() const { return theirs_; }
  // Passes keys and output on, on threads of its own, while `work` runs; to be called once, after theirs() was handed on. Ctrl-C is a key
  // like others: it reaches what runs on the other terminal.
  void relay_while(const std::function<void()>& work);

 private:
  Fd ours_, theirs_;
};

}  // namespace kiln
