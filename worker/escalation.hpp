// When which signal is due to a process that has to end: SIGTERM at once, SIGKILL after a grace. Values in, values out:
// time is an argument.
//
// Thread-safety: a value of one thread.
#pragma once

#include <chrono>
#include <csignal>
#include <optional>

#include "worker/verdict.hpp"

namespace jobq::runner {

class Escalation {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Begins it; the first cause stands, but a shorter grace later shortens it.
  void ask(StopCause cause, Time now, std::chrono::milliseconds grace) {
    if (cause_ == StopCause::none) cause_ = cause;
    if (!kill_at_ || now + grace < *kill_at_) kill_at_ = now + grace;
  }

  // The signal to send now, each once.
  std::optional<int> due(Time now) {
    if (cause_ == StopCause::none || killed_) return std::nullopt;
    if (now >= *kill_at_) {
      killed_ = true;
      return SIGKILL;
    }
    if (asked_) return std::nullopt;
    asked_ = true;
    return SIGTERM;
  }

  // When due() has something next; none: nothing is to come.
  [[nodiscard]] std::optional<Time> next() const {
    if (cause_ == StopCause::none || killed_) return std::nullopt;
    return asked_ ? *kill_at_ : Time::min();
  }

  [[nodiscard]] StopCause cause() const { return cause_; }
  [[nodiscard]] bool killed() const { return killed_; }

 private:
  StopCause cause_ = StopCause::none;
  std::optional<Time> kill_at_;
  bool asked_ = false;
  bool killed_ = false;
};

}  // namespace jobq::runner
