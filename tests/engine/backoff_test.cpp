// The wait before a retry, by itself: its bounds, how it grows, and that it stays within what was asked for.
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

#include "broker/engine/retry.hpp"

namespace jobq {
namespace {

constexpr std::int64_t kYearMs = 365LL * 24 * 3600 * 1000;

struct Waits {
  std::int64_t shortest = std::numeric_limits<std::int64_t>::max(), longest = 0;
};

Waits waits(const QueueSettings& settings, std::uint32_t failures) {
  Prng prng{11};
  Waits seen;
  for (int n = 0; n < 2'000; ++n) {
    const std::int64_t wait = backoff(settings, failures, &prng).ms;
    seen.shortest = std::min(seen.shortest, wait);
    seen.longest = std::max(seen.longest, wait);
  }
  return seen;
}

QueueSettings settings(std::int64_t min_ms, std::int64_t max_ms, std::uint32_t factor) {
  QueueSettings made;
  made.backoff_min_ms = min_ms;
  made.backoff_max_ms = max_ms;
  made.backoff_factor = factor;
  return made;
}

}  // namespace

TEST_CASE("a backoff lies between the shortest and what the failures have made of it") {
  const QueueSettings doubling = settings(1'000, 60'000, 2);
  for (const auto& [failures, ceiling] :
       {std::pair{1U, 2'000}, std::pair{3U, 8'000}, std::pair{6U, 60'000}, std::pair{1'000U, 60'000}}) {
    const Waits seen = waits(doubling, failures);
    CHECK(seen.shortest >= 1'000);
    CHECK(seen.shortest < 1'000 + (ceiling - 1'000) / 10);
    CHECK(seen.longest <= ceiling);
    CHECK(seen.longest > ceiling - ceiling / 10);
  }
}

TEST_CASE("a factor of one does not grow, and a longest below the shortest is the shortest") {
  CHECK(waits(settings(500, 60'000, 1), 40).longest == 500);
  CHECK(waits(settings(500, 100, 2), 3).longest == 500);
}

TEST_CASE("a backoff may grow to a year") {
  const Waits seen = waits(settings(1, kYearMs, 10), 25);
  CHECK(seen.longest > kYearMs / 10 * 9);
  CHECK(seen.longest <= kYearMs);
}

TEST_CASE("a backoff that no number holds is the longest") {
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max() / 3;
  const Waits seen = waits(settings(kHuge, kHuge + kYearMs, 10), 2);
  CHECK(seen.shortest >= kHuge);
  CHECK(seen.longest <= kHuge + kYearMs);
}

}  // namespace jobq
