// Ctrl-C and SIGTERM as something a command can look at: a redrive that is watched, a watched table and a stream of lines
// end in order, with a word about what was done.
//
// Thread-safety: interrupted() from any thread; the rest from the main thread.
#pragma once

#include "libjobq/base/time.hpp"

namespace jobq::cli {

// Once, before any other thread starts. A second signal ends the process at once.
void catch_interrupts();
bool interrupted();
// Readable when interrupted: for poll().
int interrupt_fd();
// Returns early when interrupted.
void wait_interruptible(DurationMs span);

}  // namespace jobq::cli
