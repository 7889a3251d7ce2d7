#include "broker/server/rates.hpp"

#include <doctest/doctest.h>

using namespace jobq;

namespace {

QueueCounters counters(std::uint64_t enqueued, std::uint64_t acked, std::uint64_t failed = 0,
                       std::uint64_t dead = 0) {
  QueueCounters result;
  result.enqueued_total = enqueued;
  result.acked_total = acked;
  result.failed_total = failed;
  result.dead_total = dead;
  return result;
}

}  // namespace

TEST_CASE("a steady flow shows its rate") {
  Rates rates(TimeMs{1'000});
  std::uint64_t jobs = 0;
  std::int64_t now = 1'000;
  for (; now < 61'000; now += 100) {
    jobs += 10;  // 100 a second
    rates.observe(1, counters(jobs, jobs / 2), TimeMs{now});
  }
  const QueueRates shown = rates.of(1, TimeMs{now});
  CHECK(shown.enqueued_per_s == doctest::Approx(100).epsilon(0.11));
  CHECK(shown.acked_per_s == doctest::Approx(50).epsilon(0.11));
  CHECK(shown.failed_per_s == 0);
}

TEST_CASE("what happened before the window does not count, however quiet it was since") {
  Rates rates(TimeMs{0});
  rates.observe(1, counters(1'000, 0), TimeMs{5'000});
  CHECK(rates.of(1, TimeMs{6'000}).enqueued_per_s > 100);
  CHECK(rates.of(1, TimeMs{100'000}).enqueued_per_s == 0);
  rates.observe(1, counters(1'010, 0), TimeMs{100'000});
  CHECK(rates.of(1, TimeMs{100'000}).enqueued_per_s == doctest::Approx(1.0));
}

TEST_CASE("rates start at zero, whatever the totals of before are") {
  Rates rates(TimeMs{0});
  rates.begin(1, counters(1'000'000, 900'000, 5, 5));
  CHECK(rates.of(1, TimeMs{1'000}).enqueued_per_s == 0);
  rates.observe(1, counters(1'000'010, 900'000, 5, 5), TimeMs{10'000});
  CHECK(rates.of(1, TimeMs{10'000}).enqueued_per_s == doctest::Approx(1.0));
  CHECK(rates.of(1, TimeMs{10'000}).died_recently == 0);
}

TEST_CASE("deaths are remembered for ten minutes") {
  Rates rates(TimeMs{0});
  rates.observe(1, counters(5, 0, 3, 2), TimeMs{1'000});
  CHECK(rates.of(1, TimeMs{300'000}).died_recently == 2);
  CHECK(rates.of(1, TimeMs{700'000}).died_recently == 0);
}

TEST_CASE("an unknown queue has no rates") { CHECK(Rates(TimeMs{0}).of(7, TimeMs{1'000}).acked_per_s == 0); }

TEST_CASE("a queue drains when more leaves than comes") {
  CHECK(drains_in_s(0, {}) == 0);
  CHECK_FALSE(drains_in_s(100, {}).has_value());
  CHECK_FALSE(drains_in_s(100, {20, 10, 0, 0}).has_value());
  CHECK(drains_in_s(100, {10, 20, 0, 0}) == 10);
}
