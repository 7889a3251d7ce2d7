// SIGTERM and SIGINT as a readable descriptor, for as long as one of these lives. Several may live at once
// (one per running worker); the handlers that were installed before come back with the end of the last.
//
// Thread-safety: construction and destruction from any thread. Errors: without descriptors fd() is -1.
#pragma once

namespace jobq {

class SignalWatch {
 public:
  SignalWatch();
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  // Readable after a signal.
  [[nodiscard]] int fd() const { return fd_; }
  // How many came since the last call.
  int take();

 private:
  int fd_ = -1;
};

}  // namespace jobq
