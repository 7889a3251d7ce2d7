// A job's stop token as a readable descriptor, for the thread that sits in poll() over the job's process.
//
// Thread-safety: one thread; the token may be triggered by any.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <stop_token>
#include <utility>

#include "worker/descriptor.hpp"

namespace jobq::runner {

class StopWatch {
 public:
  // open() is false when the system has no descriptor left.
  explicit StopWatch(std::stop_token token)
      : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), callback_(std::move(token), [fd = fd_.get()] {
          const std::uint64_t one = 1;
          [[maybe_unused]] const ssize_t written = ::write(fd, &one, sizeof one);
        }) {}
  StopWatch(const StopWatch&) = delete;
  StopWatch& operator=(const StopWatch&) = delete;

  [[nodiscard]] bool open() const { return fd_.open(); }
  // Readable once, when the stop was asked for.
  [[nodiscard]] int fd() const { return fd_.get(); }
  void take() const {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(fd_.get(), &count, sizeof count);
  }

 private:
  Descriptor fd_;
  std::stop_callback<std::function<void()>> callback_;
};

}  // namespace jobq::runner
