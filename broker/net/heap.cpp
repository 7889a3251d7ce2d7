#include "broker/net/heap.hpp"

#include <fmt/format.h>

#include <string>

#ifdef JOBQ_JEMALLOC
#include <jemalloc/jemalloc.h>

// jemalloc reads it before main(). Free pages go back after five seconds; blocks of 8 MB and more at once.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "dirty_decay_ms:5000,muzzy_decay_ms:0,background_thread:true";
}

namespace jobq::heap {

void configure() {}

void give_back() {
  const std::string all = fmt::format("arena.{}.purge", MALLCTL_ARENAS_ALL);
  mallctl(all.c_str(), nullptr, nullptr, nullptr, 0);
}

}  // namespace jobq::heap

#else
#include <malloc.h>

namespace jobq::heap {

// Large messages go back to the system at once. By its own rules malloc would keep them in heaps that one small block holds:
// 190 MB after six peers that had sent 64 MB each and were cut off.
void configure() {
  mallopt(M_MMAP_THRESHOLD, 2 << 20);
  mallopt(M_TRIM_THRESHOLD, 8 << 20);  // setting the one stops glibc from raising the other
}

void give_back() { malloc_trim(0); }

}  // namespace jobq::heap
#endif
