// The soonest timers of one clock, in memory; the later ones stay in the store. The same idea as LaneWindow:
// every timer up to the horizon is here, and when !more(), every other one too.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include "broker/engine/types.hpp"
#include "broker/store/store.hpp"
#include "libjobq/base/sorted_chunks.hpp"

namespace jobq {

class TimerWindow {
 public:
  explicit TimerWindow(Clock clock) { horizon_.clock = clock; }

  [[nodiscard]] std::size_t size() const { return timers_.size(); }
  [[nodiscard]] bool more() const { return more_; }
  [[nodiscard]] const TimerKey& horizon() const { return horizon_; }

  void expect_more() { more_ = true; }

  // Left to the store when it lies behind the horizon.
  void insert(const TimerKey& key, const JobMeta& meta, std::size_t capacity) {
    if (more_ && key > horizon_) return;
    put(key, meta);
    while (timers_.size() > capacity) {
      timers_.pop_back();
      horizon_ = timers_.empty() ? horizon_ : timers_.back().key;
      more_ = true;
    }
  }
  void append_page(const TimerPage& page) {
    for (const TimerEntry& entry : page.timers) {
      put(entry.key, entry.meta);
      horizon_ = std::max(horizon_, entry.key);
    }
    more_ = !page.end;
  }
  void erase(const TimerKey& key) { timers_.erase(key); }

  [[nodiscard]] std::optional<TimeMs> next() const {
    if (timers_.empty()) return std::nullopt;
    return timers_.front().key.at;
  }
  // The first timer if it is due at `now`.
  std::optional<TimerEntry> pop_due(TimeMs now) {
    if (timers_.empty() || timers_.front().key.at > now) return std::nullopt;
    const Timer timer = timers_.pop_front();
    return TimerEntry{timer.key, *timer.meta};
  }

 private:
  struct Timer {
    TimerKey key;
    std::unique_ptr<JobMeta> meta;  // apart: an insert moves many timers
  };
  struct KeyOf {
    const TimerKey& operator()(const Timer& timer) const { return timer.key; }
  };
  void put(const TimerKey& key, const JobMeta& meta) {
    timers_.insert({key, std::make_unique<JobMeta>(meta)});
  }

  SortedChunks<Timer, TimerKey, KeyOf> timers_;
  TimerKey horizon_{};
  bool more_ = false;
};

}  // namespace jobq
