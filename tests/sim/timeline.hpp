// Virtual time: what is to happen, in order. Two things at the same millisecond happen in the order in which they were
// planned, so a run is the same on every machine.
//
// Not thread-safe. Milliseconds since the run began; it begins at kBegin, so that 0 stays "none".
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "libjobq/base/check.hpp"
#include "libjobq/base/time.hpp"

namespace jobq::sim {

inline constexpr TimeMs kBegin{10'000};

class Timeline {
 public:
  using Action = std::function<void()>;

  [[nodiscard]] TimeMs now() const { return now_; }
  void at(TimeMs time, Action action) {
    planned_.emplace(std::pair{time < now_ ? now_ : time, next_++}, std::move(action));
  }
  void after(DurationMs span, Action action) { at(now_ + span, std::move(action)); }

  // Whether something is planned until then.
  [[nodiscard]] bool has_until(TimeMs time) const {
    return !planned_.empty() && planned_.begin()->first.first <= time;
  }
  // Lets the next thing happen. REQUIRES: has_until(kNever).
  void step() {
    auto node = planned_.extract(planned_.begin());
    now_ = node.key().first;
    ++steps_;
    node.mapped()();
  }
  // Nothing is planned before that time. Time goes there.
  void go_to(TimeMs time) {
    JOBQ_CHECK(!has_until(TimeMs{time.ms - 1}), "{}", time.ms);
    if (time > now_) now_ = time;
  }
  [[nodiscard]] std::uint64_t steps() const { return steps_; }

 private:
  TimeMs now_ = kBegin;
  std::uint64_t next_ = 0, steps_ = 0;
  std::map<std::pair<TimeMs, std::uint64_t>, Action> planned_;
};

}  // namespace jobq::sim
