// Signals as something to read: blocked in every thread and taken from a descriptor between two turns of the loop, so that
// nothing ever runs in a signal handler. SIGPIPE and SIGXFSZ are ignored: both are reported as failed writes as well.
//
// Make it before any thread is started. Not thread-safe.
#pragma once

#include <optional>

namespace jobq {

class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  [[nodiscard]] int descriptor() const { return descriptor_; }
  // SIGTERM, SIGINT or SIGHUP; nullopt: none waits.
  std::optional<int> next();

 private:
  int descriptor_ = -1;
};

}  // namespace jobq
