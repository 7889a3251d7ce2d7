// SIGTERM and SIGINT as a readable descriptor, for as long as one of these lives. Several may live at once
// (one per running worker); the handlers that were installed before come back with the end of the last.
//
// Thread-safety: construction and destruction from any thread. Errors: without descriptors fd() is -1.
#pragma once

#include "libjobq/worker/stop_wishes.hpp"

namespace jobq {

class SignalWatch {
 public:
  SignalWatch();
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  // Readable after a signal.
  [[nodiscard]] int fd() const { return fd_; }
  // How many wishes to stop came since the last call (0 or 1): signals that are heard together are one, and so are those
  // that StopWishes takes for one.
  int take(StopWishes::Clock::time_point now);

 private:
  int fd_ = -1;
  StopWishes wishes_;
};

}  // namespace jobq
