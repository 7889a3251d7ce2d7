// The wall clock is set while the broker serves: by a second, an hour, a day, ten years, forward and back. Only dates follow it.
#include <doctest/doctest.h>

#include <utility>

#include "tests/server/server_world.hpp"

using namespace jobq;
using namespace jobq::protocol;

namespace {

constexpr PeerId kProducer{1}, kWorker{2};
constexpr std::int64_t kSecond = 1'000, kHour = 3'600 * kSecond, kDay = 24 * kHour, kTenYears = 3'652 * kDay;

// One job is held, one waits a minute, one may wait two minutes at most, and one has a date in half a day.
struct Clocked : ServerWorld {
  Clocked() {
    greet(kProducer);
    greet(kWorker);
    send(kProducer, enqueue_one("held", "x"));
    send(kWorker, worker_of("held", 1));
    settle();
    REQUIRE(only<Deliver>(kWorker).jobs.size() == 1);
    Enqueue delayed = enqueue_one("delayed", "x"), expiring = enqueue_one("expiring", "x"),
            dated = enqueue_one("dated", "x");
    delayed.jobs[0].delay = DurationMs{60 * kSecond};
    expiring.jobs[0].expires_in = DurationMs{120 * kSecond};
    dated.jobs[0].run_at = TimeMs{wall_ms + kDay / 2};
    for (Enqueue* request : {&delayed, &expiring, &dated}) send(kProducer, *request);
    settle();
  }
  [[nodiscard]] QueueCounters counters(const char* queue) const {
    return *engine->queue(queue, clock->read())->counters;
  }
  // Second by second, with a worker that is alive.
  void live(std::int64_t seconds) {
    for (; seconds > 0; --seconds) {
      advance(DurationMs{kSecond});
      if (seconds % 4 == 0) send(kWorker, Heartbeat{});
      settle();
    }
  }
  // Nothing to do now: the loop would sleep.
  [[nodiscard]] bool sleeps() {
    return server->turn(DurationMs{kHour}).ok() && transport.last_wait() && transport.last_wait()->ms > 0;
  }
};

}  // namespace

TEST_CASE(
    "whatever the wall clock jumps by, leases, delays and expiries go on as they were, and dates follow it") {
  for (const std::int64_t size : {kSecond, kHour, kDay, kTenYears}) {
    for (const std::int64_t jump : {size, -size}) {
      CAPTURE(jump);
      Clocked world;
      world.wall_ms += jump;
      world.settle();
      CHECK(world.sleeps());
      CHECK(world.counters("held").leased == 1);
      CHECK(world.counters("delayed").scheduled == 1);
      CHECK(world.counters("expiring").ready == 1);
      const bool dated_now = jump >= kDay / 2;
      CHECK(world.counters("dated").ready == (dated_now ? 1 : 0));
      CHECK(world.counters("dated").scheduled == (dated_now ? 0 : 1));
      world.live(20);
      CHECK(world.counters("held").leased == 1);
      CHECK(world.counters("held").lapsed_total + world.counters("held").crashed_total == 0);
      CHECK(world.counters("delayed").scheduled == 1);
      world.live(42);  // a minute and two seconds since they came
      CHECK(world.counters("delayed").ready == 1);
      CHECK(world.counters("expiring").ready == 1);
      world.wall_ms -= jump;  // and set right again
      world.live(60);
      CHECK(world.counters("delayed").ready == 1);
      CHECK(world.counters("expiring").expired_total == 1);
      CHECK(world.counters("dated").ready == (dated_now ? 1 : 0));
      CHECK(world.sleeps());
    }
  }
}

TEST_CASE("a hundred jumps in a row neither fire a delay early nor keep the loop awake") {
  Clocked world;
  for (std::int64_t n = 0; n < 100; ++n) {
    world.wall_ms += (n % 2 == 0 ? 1 : -1) * (n % 4 < 2 ? kTenYears : kHour);
    world.advance(DurationMs{100});
    if (n % 20 == 0) world.send(kWorker, Heartbeat{});
    world.settle();
    CHECK(world.sleeps());
  }
  CHECK(world.counters("held").leased == 1);
  CHECK(world.counters("delayed").scheduled == 1);
  CHECK(world.counters("dated").ready == 1);  // once is enough
  world.live(51);
  CHECK(world.counters("delayed").ready == 1);
}
