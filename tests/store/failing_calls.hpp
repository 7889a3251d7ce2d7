// Calls of the store's code that fail when a test wants them to: system calls and LMDB's functions, wrapped by the linker
// (meson.build passes --wrap for each). What LMDB itself calls is not reached by it. A fault is taken once, by the first
// call that fits, here or in a child; a child's calls do not use up its parent's. Not thread-safe.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include "jobq/status.hpp"

namespace jobq {

enum class In { anywhere, this_process, a_child };

struct Fault {
  std::string_view call;        // as the linker knows it: "open64"
  int error = 0;                // errno, or what LMDB's function returns; 0: it "succeeds" without being made
  std::string_view path_end{};  // only for a path with this end
  int after = 0;                // so many fitting calls are made as ever before
  In in = In::anywhere;
  int signal = 0;  // the process dies there; one that nobody (doctest, a sanitizer) has a handler for
  std::function<void()> first{};  // done there, and then the call is made as ever
  bool for_ever = false;
};

// While it lives, the fault stands.
class Failing {
 public:
  explicit Failing(Fault fault);
  ~Failing();
  Failing(const Failing&) = delete;
  Failing& operator=(const Failing&) = delete;
  [[nodiscard]] int met() const;  // how often; in this process
  void disarm();

 private:
  std::size_t slot_;
};

// What calls that succeed tell: read by the wrappers, put back by whoever changed it.
struct Pretended {
  unsigned long file_system = 0;         // f_type of statfs
  bool disk_is_full = false;             // statvfs: nothing is free
  bool no_birth_time = false;            // statx
  long long born_s = 0;                  // statx says this one
  int user = -1;                         // geteuid
  const char* const* readers = nullptr;  // lines of mdb_reader_list, up to a nullptr
  int dead_readers = 0;                  // of mdb_reader_check
};
extern Pretended pretended;
class Pretending {
 public:
  explicit Pretending(Pretended what) { pretended = what; }
  ~Pretending() { pretended = {}; }
  Pretending(const Pretending&) = delete;
  Pretending& operator=(const Pretending&) = delete;
};

inline void check_said(const Status& said, Code code, std::initializer_list<std::string> parts) {
  CHECK_MESSAGE(said.code() == code, said.text());
  for (const std::string& part : parts)
    CHECK_MESSAGE(said.text().find(part) != std::string::npos, said.text(), " lacks ", part);
}

}  // namespace jobq
