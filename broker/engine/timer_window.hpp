// The soonest timers of one clock, in memory; the later ones stay in the store. The same idea as LaneWindow:
// every timer up to the horizon is here, and when !more(), every other one too.
#pragma once

#include <cstddef>
#include <map>
#include <optional>

#include "broker/engine/types.hpp"
#include "broker/store/store.hpp"

namespace jobq {

class TimerWindow {
 public:
  explicit TimerWindow(Clock clock) { horizon_.clock = clock; }

  [[nodiscard]] std::size_t size() const { return timers_.size(); }
  [[nodiscard]] bool more() const { return more_; }
  [[nodiscard]] const TimerKey& horizon() const { return horizon_; }
  [[nodiscard]] const std::map<TimerKey, JobMeta>& timers() const { return timers_; }

  void expect_more() { more_ = true; }

  // Left to the store when it lies behind the horizon.
  void insert(const TimerKey& key, const JobMeta& meta, std::size_t capacity) {
    if (more_ && key > horizon_) return;
    timers_.emplace(key, meta);
    while (timers_.size() > capacity) {
      timers_.erase(std::prev(timers_.end()));
      horizon_ = timers_.empty() ? horizon_ : std::prev(timers_.end())->first;
      more_ = true;
    }
  }
  void append_page(const TimerPage& page) {
    for (const TimerEntry& entry : page.timers) {
      timers_.emplace(entry.key, entry.meta);
      horizon_ = std::max(horizon_, entry.key);
    }
    more_ = !page.end;
  }
  void erase(const TimerKey& key) { timers_.erase(key); }

  [[nodiscard]] std::optional<TimeMs> next() const {
    if (timers_.empty()) return std::nullopt;
    return timers_.begin()->first.at;
  }
  // The first timer if it is due at `now`.
  std::optional<TimerEntry> pop_due(TimeMs now) {
    if (timers_.empty() || timers_.begin()->first.at > now) return std::nullopt;
    TimerEntry entry{timers_.begin()->first, timers_.begin()->second};
    timers_.erase(timers_.begin());
    return entry;
  }

 private:
  std::map<TimerKey, JobMeta> timers_;
  TimerKey horizon_{};
  bool more_ = false;
};

}  // namespace jobq
