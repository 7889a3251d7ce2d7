// Keys of rows: what was written is read, and what has another length or names no clock or kind of timer is refused.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "broker/store/keys.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

namespace jobq::lmdb {
namespace {

template <typename Key, typename Parse>
void refused_at_any_other_length(const Key& key, Parse parse) {
  const std::string whole{std::string_view(key)};
  CHECK(parse(whole).has_value());
  for (std::size_t size = 0; size < whole.size(); ++size)
    CHECK_FALSE(parse(whole.substr(0, size)).has_value());
  CHECK_FALSE(parse(whole + '\0').has_value());
}

}  // namespace

TEST_CASE("a key of another length is no key") {
  const Lane lane{.queue = 7, .type = 8, .priority = 9};
  ProducerId producer{};
  producer.fill(5);
  refused_at_any_other_length(job_key(JobId{3}), parse_job_key);
  refused_at_any_other_length(block_key(3), parse_block_key);
  refused_at_any_other_length(queue_key(3), parse_number_key);
  refused_at_any_other_length(lane_key(lane), parse_lane_key);
  refused_at_any_other_length(lane_index_key(lane, 77), parse_lane_index_key);
  refused_at_any_other_length(timer_key({Clock::wall, TimeMs{4}, JobId{3}, TimerKind::expiry}),
                              parse_timer_key);
  refused_at_any_other_length(dead_key(7, JobId{3}), parse_dead_key);
  refused_at_any_other_length(answer_key(producer, 6), parse_answer_key);
}

TEST_CASE("a key gives back what it was made of") {
  const Lane lane{.queue = 7, .type = 8, .priority = 9};
  const auto range = parse_lane_index_key(lane_index_key(lane, 77));
  REQUIRE(range.has_value());
  CHECK(range->lane == lane);
  CHECK(range->range == 77);
  const auto dead = parse_dead_key(dead_key(7, JobId{3}));
  REQUIRE(dead.has_value());
  CHECK(dead->queue == 7);
  CHECK(dead->job == JobId{3});
  for (const std::int64_t at : {std::int64_t{-1}, std::int64_t{0}, std::int64_t{1'700'000'000'000}}) {
    const TimerKey timer{Clock::wall, TimeMs{at}, JobId{3}, TimerKind::unique_hold};
    const auto read = parse_timer_key(timer_key(timer));
    REQUIRE(read.has_value());
    CHECK(read->at == timer.at);
    CHECK(read->job == timer.job);
  }
  // Instants sort as they pass, those before 1970 first.
  CHECK(std::string_view(timer_key({Clock::wall, TimeMs{-1}, JobId{9}, TimerKind::due})) <
        std::string_view(timer_key({Clock::wall, TimeMs{0}, JobId{1}, TimerKind::due})));
}

TEST_CASE("a lane of a priority that there is not is refused") {
  const Lane wrong{.queue = 7, .type = 8, .priority = limits::kPriorityMax + 1};
  CHECK_FALSE(parse_lane_key(lane_key(wrong)).has_value());
  CHECK_FALSE(parse_lane_index_key(lane_index_key(wrong, 77)).has_value());
}

TEST_CASE("a timer of no clock, or of no kind, is refused") {
  const std::string whole{
      std::string_view(timer_key({Clock::wall, TimeMs{4}, JobId{3}, TimerKind::unique_hold}))};
  std::string wrong = whole;
  wrong.front() = static_cast<char>(static_cast<int>(Clock::wall) + 1);
  CHECK_FALSE(parse_timer_key(wrong).has_value());
  wrong = whole;
  wrong.back() = static_cast<char>(static_cast<int>(TimerKind::unique_hold) + 1);
  CHECK_FALSE(parse_timer_key(wrong).has_value());
}

}  // namespace jobq::lmdb
