// The heap of the broker, where messages come and go between threads, thousands a second and up to 64 MB large. jemalloc,
// where the build has it: a fifth less CPU per job than with glibc's, and what is freed goes back to the system by
// itself. Elsewhere (under the sanitizers, or with -Djemalloc=disabled) glibc's, told to keep no large blocks.
//
// Thread-safe.
#pragma once

namespace jobq::heap {

// Once, at the start of main().
void configure();

// Gives what is free back to the system now. Takes milliseconds where much is: for after a peer that had filled it.
void give_back();

}  // namespace jobq::heap
