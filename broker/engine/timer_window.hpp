// The soonest timers of one clock, in memory; the later ones stay in the store. The same idea as LaneWindow:
// every timer up to the horizon is here, and when !more(), every other one too.
//
// May grow in a turn: trim() bounds it, when those that are due have left.
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
  void insert(const TimerKey& key, const JobMeta& meta) {
    if (more_ && key > horizon_) return;
    put(key, meta);
  }
  // Leaves the latest to the store. REQUIRES: no page is on its way, it would begin behind them.
  void trim(std::size_t capacity) {
    while (timers_.size() > capacity) {
      timers_.pop_back();
      horizon_ = timers_.empty() ? horizon_ : key_of(timers_.back().at);
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
  void erase(const TimerKey& key) { timers_.erase(place_of(key)); }

  [[nodiscard]] std::optional<TimeMs> next() const {
    if (timers_.empty()) return std::nullopt;
    return timers_.front().at.at;
  }
  // The first timer if it is due at `now`.
  std::optional<TimerEntry> pop_due(TimeMs now) {
    if (timers_.empty() || timers_.front().at.at > now) return std::nullopt;
    const Timer timer = timers_.pop_front();
    // They lie wherever there was room when they came: without this each one is waited for.
    if (const Timer* next = timers_.ahead(kAhead)) __builtin_prefetch(next->meta.get());
    return TimerEntry{key_of(timer.at), *timer.meta};
  }

 private:
  static constexpr std::size_t kAhead = 8;

  // A key of this clock, in half of its bytes: a search looks at twenty of them, in as many lines of the cache.
  struct Place {
    TimeMs at{};
    std::uint64_t job_and_kind = 0;
    auto operator<=>(const Place&) const = default;
  };
  struct Timer {
    Place at;
    std::unique_ptr<JobMeta> meta;  // apart: an insert moves many timers
  };
  struct PlaceOf {
    const Place& operator()(const Timer& timer) const { return timer.at; }
  };
  static constexpr int kKindBits = 2;

  static Place place_of(const TimerKey& key) {
    return {key.at, key.job.value << kKindBits | static_cast<std::uint64_t>(key.kind)};
  }
  [[nodiscard]] TimerKey key_of(const Place& place) const {
    constexpr std::uint64_t kKinds = (std::uint64_t{1} << kKindBits) - 1;
    return {horizon_.clock, place.at, JobId{place.job_and_kind >> kKindBits},
            static_cast<TimerKind>(place.job_and_kind & kKinds)};
  }
  void put(const TimerKey& key, const JobMeta& meta) {
    timers_.insert({place_of(key), std::make_unique<JobMeta>(meta)});
  }

  SortedChunks<Timer, Place, PlaceOf> timers_;
  TimerKey horizon_{};
  bool more_ = false;
};

}  // namespace jobq
