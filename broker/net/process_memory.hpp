// What the kernel says about this process's memory, in bytes. For the guard, which has to see what ZeroMQ keeps.
//
// Thread-safety: all of it may be called by any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace jobq {

// Memory that is the process's own: without the pages of mapped files, the store's above all. 0: the kernel does not say.
std::uint64_t own_memory_bytes();

// The thread of this process by that name; nullopt: there is none.
std::optional<pid_t> thread_named(std::string_view name);

// How much memory a thread has been the first to touch, ever: its minor faults. 0: the kernel does not say.
std::uint64_t touched_bytes(pid_t thread);

}  // namespace jobq
