// Ctrl-C: one flag for the process, and a descriptor that polls can wait on, so that every wait ends at once and cleans up.
#pragma once

namespace kiln {

// SIGINT and SIGTERM set the flag from now on (a second one ends the process at once, by its default action).
void catch_interrupts();
bool interrupted();
// Throws Interrupted when the flag is set.
void throw_if_interrupted();
// Readable once the flag is set; never read from it.
int interrupt_fd();
// Sets or clears the flag (cleaning up needs waits that work again; tests).
void set_interrupted(bool value);

// While it lives waits work although a stop was asked for: cleaning up must not be cut short by the Ctrl-C that asked for it.
class Undisturbed {
 public:
  Undisturbed() : was_(interrupted()) { set_interrupted(false); }
  ~Undisturbed() {
    if (was_) set_interrupted(true);
  }
  Undisturbed(const Undisturbed&) = delete;
  Undisturbed& operator=(const Undisturbed&) = delete;

 private:
  bool was_;
};

}  // namespace kiln
