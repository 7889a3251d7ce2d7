// Counts durations in steps of at most 3 %, for percentiles without keeping each one: 32 linear steps to every doubling, as
// in HdrHistogram (Gil Tene). From a nanosecond to 39 hours; what is longer counts as that.
//
// Thread-safety: all members from any thread; also in memory that processes share. What is read while others add is
// a little behind.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace jobq {

class LatencyHistogram {
 public:
  void add(std::int64_t ns);
  void clear();
  [[nodiscard]] std::uint64_t count() const;
  // In microseconds; 0 when it is empty.
  [[nodiscard]] double percentile_us(double fraction) const;

 private:
  static constexpr std::size_t kSteps = 32;
  static std::size_t place(std::uint64_t ns);
  static double value_ns(std::size_t place);
  std::array<std::atomic<std::uint64_t>, 48 * kSteps> counts_{};
};

}  // namespace jobq
