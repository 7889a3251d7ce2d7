// Time as the engine sees it: milliseconds in strong types, handed in by the caller, never read from the
// system.
//
// Two clocks exist and are kept apart (docs/guarantees.md, "time"):
//   * the engine clock: starts at the Unix time of the store's creation, then runs with the monotonic clock.
//   Leases,
//     delays, backoff and expiry are counted on it; a jump of the wall clock does not move it.
//   * the wall clock: Unix time. Only `run_at` times that a user gave as a date are compared with it.
// Both are `TimeMs`; a name says which one is meant where both are near.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <limits>

namespace jobq {

// A span of time in milliseconds.
struct DurationMs {
  std::int64_t ms = 0;
  auto operator<=>(const DurationMs&) const = default;
};

// An instant in milliseconds. Zero means "none" wherever a field is optional.
struct TimeMs {
  std::int64_t ms = 0;
  auto operator<=>(const TimeMs&) const = default;
  [[nodiscard]] constexpr bool is_set() const { return ms != 0; }
};

inline constexpr TimeMs kNever{std::numeric_limits<std::int64_t>::max()};

// Saturating: the far future stays the far future.
constexpr TimeMs operator+(TimeMs time, DurationMs span) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(time.ms, span.ms, &sum)) return span.ms > 0 ? kNever : TimeMs{0};
  return TimeMs{sum};
}
constexpr DurationMs operator-(TimeMs later, TimeMs earlier) {
  std::int64_t difference = 0;
  if (__builtin_sub_overflow(later.ms, earlier.ms, &difference)) {
    return DurationMs{later.ms > earlier.ms ? std::numeric_limits<std::int64_t>::max()
                                            : std::numeric_limits<std::int64_t>::min()};
  }
  return DurationMs{difference};
}

// One reading of both clocks. The broker's loop takes one per turn and hands it to everything in that turn.
struct Now {
  TimeMs engine;
  TimeMs wall;
};

constexpr DurationMs to_ms(std::chrono::milliseconds span) { return DurationMs{span.count()}; }

}  // namespace jobq
