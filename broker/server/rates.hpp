// How fast things happen: per queue, over the last ten seconds, and how many jobs died in the last ten minutes. Fed with
// the counters of the queues that a turn changed, so that a queue where nothing happens costs nothing.
//
// Not thread-safe. Times on the engine clock.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>

#include "broker/engine/types.hpp"

namespace jobq {

struct QueueRates {
  double enqueued_per_s = 0;
  double acked_per_s = 0;
  double failed_per_s = 0;
  std::uint64_t died_recently = 0;  // in the last ten minutes
};

class Rates {
 public:
  explicit Rates(TimeMs start) : start_(start) {}

  // The counters that the queue had when the broker started.
  void begin(QueueNo queue, const QueueCounters& counters);
  // The counters that the queue has from `now` on.
  void observe(QueueNo queue, const QueueCounters& counters, TimeMs now);
  void forget(QueueNo queue) { queues_.erase(queue); }

  [[nodiscard]] QueueRates of(QueueNo queue, TimeMs now) const;

 private:
  struct Totals {
    std::uint64_t enqueued = 0, acked = 0, failed = 0, dead = 0;
  };
  // "Up to `until` the totals were these."
  struct Sample {
    TimeMs until;
    Totals totals;
  };
  struct Track {
    Totals current;
    std::deque<Sample> seconds;  // at most one per second, the newest last
    std::deque<Sample> minutes;
  };
  static Totals totals_of(const QueueCounters& counters);

  TimeMs start_;
  std::unordered_map<QueueNo, Track> queues_;
};

// Seconds until the queue is empty at this pace; nullopt: it is not getting shorter.
std::optional<std::int64_t> drains_in_s(std::uint64_t waiting, const QueueRates& rates);

}  // namespace jobq
