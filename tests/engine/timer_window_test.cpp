// The soonest timers are in memory, the others in the store: what that costs, and what it must not cost.
#include "broker/engine/timer_window.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include "tests/engine/transcript.hpp"
#include "tests/engine/world.hpp"

namespace jobq::testing {
namespace {

TimerKey at(std::int64_t ms) { return {Clock::engine, TimeMs{ms}, JobId{7}, TimerKind::due}; }

// In how many turns a thousand delays fire that end at the same time.
std::uint64_t turns_of_a_thousand(const std::string& limits) {
  Script script;
  script.run("limits " + limits);
  script.run("queue q");
  script.run("enqueue q n=1000 delay=1m");
  World& world = script.world();
  const std::uint64_t before = world.turns();
  script.run("advance 1m");
  CHECK(script.run("counters q").at(0).starts_with("ready 1000 leased 0 scheduled 0"));
  return world.turns() - before;
}

}  // namespace

// A broker with room for four fired two a turn, whatever due_per_tick said, and with slow commits its delays were late by
// seconds (seed 5434 of the simulator).
TEST_CASE("how many timers are kept in memory is no limit to how many fire in a turn") {
  CHECK(turns_of_a_thousand("timer_window=4") <= 15);
  CHECK(turns_of_a_thousand("timer_window=16 due_per_tick=50") <= 30);
  CHECK(turns_of_a_thousand("timer_window=8192 due_per_tick=50") <= 25);
}

TEST_CASE("what fires in a turn is limited all the same") {
  CHECK(turns_of_a_thousand("timer_window=4 due_per_tick=10") >= 100);
}

TEST_CASE("a page may bring more timers than are kept: the latest go back to the store") {
  TimerWindow window{Clock::engine};
  TimerPage page;
  for (std::int64_t ms = 1; ms <= 10; ++ms) page.timers.push_back({at(ms), {}});
  page.end = true;
  window.append_page(page);
  CHECK_FALSE(window.more());
  CHECK(window.pop_due(TimeMs{3}).value().key == at(1));
  window.trim(4);
  CHECK(window.size() == 4);
  CHECK(window.more());
  CHECK(window.horizon() == at(5));
  window.insert(at(6), {});
  CHECK(window.size() == 4);
  CHECK(window.next() == TimeMs{2});
}

}  // namespace jobq::testing
