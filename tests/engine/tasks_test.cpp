// Tasks at their edges: how many may run, which dead jobs they take, what comes while they work, what a restart leaves of them.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/engine/transcript.hpp"
#include "tests/engine/world.hpp"

namespace jobq::testing {
namespace {

using Lines = std::vector<std::string>;

// Dead jobs j1 to jN of the queue, j1 of the type "first".
void bury(Script& script, int count) {
  script.run("enqueue q max_attempts=1 type=first");
  if (count > 1) script.run("enqueue q max_attempts=1 n=" + std::to_string(count - 1));
  script.run("worker w q credit=" + std::to_string(count));
  for (int n = 1; n <= count; ++n)
    script.run("reject w " + to_text(JobId{static_cast<std::uint64_t>(n)}) + "/1 no");
  script.run("goodbye w");
}

std::string counters(Script& script) { return script.run("counters q").at(0).substr(0, 38); }

}  // namespace

TEST_CASE("a hundred tasks run at a time") {
  Script script;
  bury(script, 3);
  for (int n = 0; n < 100; ++n)
    CHECK(script.run("redrive q rate=1 dry_run=yes").at(0).find("running") != std::string::npos);
  CHECK(script.run("redrive q") ==
        Lines{"op <- error bad_argument: 100 redrives and purges are running: wait for one to end"});
  script.run("cancel_task 50");
  CHECK(script.run("redrive q").at(0) == "op <- task 101 redrive running: scanned 0 moved 0 expired 0");
}

TEST_CASE("a redrive takes the one job that is named, those of a type, and no more than it is told") {
  Script script;
  bury(script, 5);
  script.run("redrive q id=j3");
  CHECK(script.run("task 1") == Lines{"op <- task 1 redrive done: scanned 1 moved 1 expired 0"});
  CHECK(script.run("job j3").at(0).starts_with("ready"));
  script.run("redrive q id=j3");  // not dead any more
  CHECK(script.run("task 2") == Lines{"op <- task 2 redrive done: scanned 0 moved 0 expired 0"});
  script.run("redrive q type=first");
  CHECK(script.run("task 3") == Lines{"op <- task 3 redrive done: scanned 4 moved 1 expired 0"});
  CHECK(script.run("job j1").at(0).starts_with("ready"));
  script.run("redrive q limit=2");
  CHECK(script.run("task 4") == Lines{"op <- task 4 redrive done: scanned 2 moved 2 expired 0"});
  CHECK(counters(script).starts_with("ready 4 leased 0 scheduled 0 dead 1;"));
  script.run("purge_dead q min_age=1h");
  CHECK(script.run("task 5") == Lines{"op <- task 5 dead.purge done: scanned 1 moved 0 expired 0"});
}

TEST_CASE("a purge takes a long queue page by page, and leaves what comes after its beginning") {
  Script script;
  script.run("enqueue q n=1200");
  script.run("enqueue q n=700 delay=1h");
  script.run("enqueue other delay=1h");
  World& world = script.world();
  protocol::Enqueue later;
  for (std::uint32_t n = 0; n < 3; ++n) {
    later.jobs.emplace_back();
    later.groups.push_back({"q", n, 1});
  }
  later.jobs[2].delay.ms = 1'000;
  world.send_together({{"op", command::PurgeQueue{"q"}}, {"p", later}});
  CHECK(counters(script).starts_with("ready 2 leased 0 scheduled 1 dead 0;"));
  CHECK(script.run("counters other").at(0).starts_with("ready 0 leased 0 scheduled 1"));
  CHECK(script.run("task 1").at(0).find("done") != std::string::npos);
}

TEST_CASE("a job that dies while the dead are redriven is not taken again") {
  Script script;
  bury(script, 2);
  script.run("redrive q rate=1");  // j1 at once, j2 in a second
  script.run("advance 10ms");
  script.run("worker w q");
  CHECK(script.run("reject w j1/2 again").at(0) == "w <- outcomes: settled");
  script.run("goodbye w");
  script.run("advance 10s");
  CHECK(script.run("task 1").at(0).find("moved 2 expired 0") != std::string::npos);
  CHECK(counters(script).starts_with("ready 1 leased 0 scheduled 0 dead 1;"));
  CHECK(script.run("job j1").at(0).starts_with("dead"));
}

TEST_CASE("what was stored of a purge goes on after a restart, from the first lane again") {
  Script script;
  script.run("enqueue q n=3");
  script.run("enqueue q n=2 priority=7 type=t");
  script.run("enqueue q n=2 delay=1h");
  change::PutTask stored;
  stored.number = 41;
  stored.kind = TaskKind::purge_queue;
  stored.queue = script.world().engine().queue("q", script.world().now())->number;
  stored.after = JobId{3};
  stored.cut = JobId{7};
  const std::vector<Change> batch = {stored};
  REQUIRE(script.world().store().submit(batch, script.world().engine().mark(script.world().now())).ok());
  script.run("restart");
  CHECK(script.run("task 41").at(0).find("queue.purge done") != std::string::npos);
  CHECK(counters(script).starts_with("ready 0 leased 0 scheduled 1 dead 0;"));  // j7 came after the cut
  script.run("enqueue q");
  CHECK(script.run("purge q").at(0).starts_with("op <- task 42 "));
}

TEST_CASE("a removed queue ends its tasks") {
  Script script;
  bury(script, 2);
  script.run("redrive q rate=1 dry_run=yes");
  script.run("queue empty");
  CHECK(script.run("remove_queue empty") == Lines{"op <- removed empty"});
  CHECK(script.run("task 1").at(0).find("running") != std::string::npos);
  World& world = script.world();
  CHECK(world.send_together({{"op", command::CancelJob{JobId{1}}}, {"op", command::CancelJob{JobId{2}}}})
            .size() == 2);
  CHECK(script.run("remove_queue q") == Lines{"op <- removed q"});
  CHECK(script.run("task 1").at(0).find("cancelled") != std::string::npos);
}

}  // namespace jobq::testing
