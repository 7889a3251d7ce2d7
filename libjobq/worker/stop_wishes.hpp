// Counts how often somebody has asked to stop, by signals. timeout(1), a shell and some supervisors send the same signal
// twice, to the process and to its group: what comes within kSame of the first signal is the same wish, said again.
//
// Time: when the signal was heard, on the steady clock. Thread-safety: one thread.
#pragma once

#include <chrono>

namespace jobq {

class StopWishes {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kSame{300};

  // A signal was heard; whether it is a new wish.
  bool hear(Clock::time_point now) {
    if (count_ == 1 && now - first_at_ < kSame) return false;
    if (count_++ == 0) first_at_ = now;
    return true;
  }
  [[nodiscard]] int count() const { return count_; }

 private:
  int count_ = 0;
  Clock::time_point first_at_;
};

}  // namespace jobq
