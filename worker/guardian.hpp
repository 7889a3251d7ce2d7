// A second, very small process that kills the commands' process groups when jobq-worker has died without doing so itself
// (kill -9, a crash): the kernel's death signal reaches the commands, but not what they have started.
//
// Thread-safety: start it before there are threads. Without it (no process to be had) everything else works.
#pragma once

#include <sys/types.h>

#include "worker/descriptor.hpp"

namespace jobq::runner {

class Guardian {
 public:
  // Forks it. REQUIRES: no other thread lives.
  Guardian();
  // It has nobody to kill any more, and ends.
  ~Guardian();
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  // Messages of five bytes go here: '+' or '-', and the number of the group. -1: there is none.
  [[nodiscard]] int fd() const { return write_end_.get(); }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  Descriptor write_end_;
  pid_t pid_ = -1;
};

}  // namespace jobq::runner
