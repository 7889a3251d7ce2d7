#include "broker/server/clock.hpp"

#include <doctest/doctest.h>

using namespace jobq;

namespace {

struct Machine {
  std::int64_t wall = 1'000'000, steady = 77;
  ServerClock::Source source() {
    return {[this] { return wall; }, [this] { return steady; }};
  }
  void pass(std::int64_t ms) {
    wall += ms;
    steady += ms;
  }
};

}  // namespace

TEST_CASE("a new store begins at the wall clock") {
  Machine machine;
  ServerClock clock({}, machine.source());
  CHECK(clock.read().engine.ms == 1'000'000);
  machine.pass(250);
  CHECK(clock.read().engine.ms == 1'000'250);
}

TEST_CASE("the engine clock goes on with the time that the broker was down") {
  Machine machine;
  ServerClock clock({TimeMs{500}, TimeMs{990'000}}, machine.source());
  CHECK(clock.down_for().ms == 10'000);
  CHECK(clock.read().engine.ms == 10'500);
  CHECK(clock.start_warning().empty());
}

TEST_CASE("a wall clock that went back while the broker was down takes no time away") {
  Machine machine;
  ServerClock clock({TimeMs{500}, TimeMs{2'000'000}}, machine.source());
  CHECK(clock.down_for().ms == 0);
  CHECK(clock.read().engine.ms == 500);
  CHECK_FALSE(clock.start_warning().empty());
}

TEST_CASE("years of absence are believed, and told") {
  Machine machine;
  machine.wall = 5LL * 365 * 24 * 3600 * 1000;
  ServerClock clock({TimeMs{500}, TimeMs{1'000}}, machine.source());
  CHECK(clock.down_for().ms == machine.wall - 1'000);
  CHECK_FALSE(clock.start_warning().empty());
}

TEST_CASE("a jump of the wall clock is told once and moves nothing") {
  Machine machine;
  ServerClock clock({}, machine.source());
  machine.pass(1'000);
  CHECK_FALSE(clock.take_jump().has_value());
  machine.wall += 3'600'000;
  machine.pass(10);
  CHECK(clock.read().engine.ms == 1'001'010);
  const auto jump = clock.take_jump();
  REQUIRE(jump.has_value());
  CHECK(jump->by.ms == 3'600'000);
  CHECK_FALSE(clock.take_jump().has_value());
  CHECK(clock.last_jump().has_value());
  machine.wall -= 7'200'000;
  CHECK(clock.read().engine.ms == 1'001'010);
  CHECK(clock.take_jump()->by.ms == -7'200'000);
}

TEST_CASE("a clock that is slowly corrected does not jump") {
  Machine machine;
  ServerClock clock({}, machine.source());
  for (int i = 0; i < 100; ++i) {
    machine.pass(1'000);
    machine.wall += 100;
    clock.read();
  }
  CHECK_FALSE(clock.take_jump().has_value());
}
