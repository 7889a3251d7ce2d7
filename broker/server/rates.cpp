#include "broker/server/rates.hpp"

#include <algorithm>
#include <cmath>

namespace jobq {
namespace {

constexpr DurationMs kWindow{10'000};
constexpr DurationMs kSampleEvery{1'000};
constexpr DurationMs kDeadWindow{600'000};
constexpr DurationMs kDeadSampleEvery{30'000};

// What the totals were at `when`: those of the first sample that reaches at least so far.
template <typename Samples, typename Totals>
const Totals& totals_at(const Samples& samples, const Totals& current, TimeMs when) {
  for (const auto& sample : samples) {
    if (sample.until >= when) return sample.totals;
  }
  return current;
}

// Keeps one sample before the window's edge is not needed: a sample says what held *until* its time.
template <typename Samples>
void trim(Samples* samples, TimeMs oldest) {
  while (!samples->empty() && samples->front().until < oldest) samples->pop_front();
}

}  // namespace

Rates::Totals Rates::totals_of(const QueueCounters& counters) {
  return {counters.enqueued_total, counters.acked_total, counters.failed_total, counters.dead_total};
}

void Rates::begin(QueueNo queue, const QueueCounters& counters) {
  queues_[queue].current = totals_of(counters);
}

void Rates::observe(QueueNo queue, const QueueCounters& counters, TimeMs now) {
  Track& track = queues_[queue];
  if (track.seconds.empty() || now - track.seconds.back().until >= kSampleEvery) {
    trim(&track.seconds, TimeMs{now.ms - kWindow.ms});
    track.seconds.push_back({now, track.current});
  }
  if (track.minutes.empty() || now - track.minutes.back().until >= kDeadSampleEvery) {
    trim(&track.minutes, TimeMs{now.ms - kDeadWindow.ms});
    track.minutes.push_back({now, track.current});
  }
  track.current = totals_of(counters);
}

QueueRates Rates::of(QueueNo queue, TimeMs now) const {
  const auto found = queues_.find(queue);
  if (found == queues_.end()) return {};
  const Track& track = found->second;
  const TimeMs from = std::max(start_, TimeMs{now.ms - kWindow.ms});
  const Totals& then = totals_at(track.seconds, track.current, from);
  // A broker that has just started: counting over less than a second would show absurd figures.
  const double seconds = std::max(1.0, static_cast<double>((now - from).ms) / 1000.0);
  const auto per_second = [seconds](std::uint64_t after, std::uint64_t before) {
    return static_cast<double>(after - before) / seconds;
  };
  const Totals& long_ago = totals_at(track.minutes, track.current, TimeMs{now.ms - kDeadWindow.ms});
  return {per_second(track.current.enqueued, then.enqueued), per_second(track.current.acked, then.acked),
          per_second(track.current.failed, then.failed), track.current.dead - long_ago.dead};
}

std::optional<std::int64_t> drains_in_s(std::uint64_t waiting, const QueueRates& rates) {
  if (waiting == 0) return 0;
  const double net = rates.acked_per_s - rates.enqueued_per_s;
  if (net < 0.01) return std::nullopt;
  return static_cast<std::int64_t>(std::ceil(static_cast<double>(waiting) / net));
}

}  // namespace jobq
