// JOBQ_CHECK: an assertion that stays on in release builds.
//
// For our own mistakes only. Bytes that come from outside (wire, disk, command line) are never checked this
// way: they are answered with an error. A broken invariant ends the process, because memory can no longer be
// trusted and the store, which is consistent at every commit, can.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace jobq {

[[noreturn]] inline void check_failed(const char* condition, const char* file, int line,
                                      const std::string& detail) {
  std::fprintf(stderr, "jobq: broken invariant: %s at %s:%d %s\n", condition, file, line, detail.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace jobq

// JOBQ_CHECK(condition) or JOBQ_CHECK(condition, "format {}", values...).
#define JOBQ_CHECK(condition, ...)                                                         \
  do {                                                                                     \
    if (!(condition)) [[unlikely]] {                                                       \
      ::jobq::check_failed(#condition, __FILE__, __LINE__, ::fmt::format("" __VA_ARGS__)); \
    }                                                                                      \
  } while (false)
