// Commands that meet in one turn: what the store said before it does not hold for a job that an earlier one has moved.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/engine/transcript.hpp"
#include "tests/engine/world.hpp"

namespace jobq::testing {
namespace {

using Lines = std::vector<std::string>;

protocol::Enqueue keyed(std::string_view body) {
  protocol::Enqueue request;
  request.jobs.emplace_back();
  request.jobs[0].body = body;
  request.jobs[0].unique_key = "k";
  request.groups.push_back({"q", 0, 1});
  return request;
}

protocol::Outcomes ack(JobId job, LeaseNo lease_no) {
  protocol::Outcomes request;
  request.outcomes.emplace_back();
  request.outcomes[0].lease = {job, lease_no};
  return request;
}

const JobId kFirst{1};

}  // namespace

TEST_CASE("the same key twice in one turn makes one job") {
  World world;
  CHECK(world.send_together({{"a", keyed("x")}, {"b", keyed("x")}, {"c", keyed("y")}}) ==
        Lines{"a <- created j1 ready", "b <- duplicate j1 ready", "c <- duplicate j1 ready body_differs"});
}

TEST_CASE("a key whose job ends in the same turn is free in the next") {
  Script script;
  script.run("queue q");
  World& world = script.world();
  world.send("p", keyed("x"));
  script.run("worker w q");
  CHECK(world.send_together({{"w", ack(kFirst, 1)}, {"p", keyed("x")}}) ==
        Lines{"w <- outcomes: settled", "p <- created j2 ready", "w <- deliver j2/1(q attempt 1 of 25)"});
}

TEST_CASE("two operators and one job: the second is told what the first has made of it") {
  Script script;
  script.run("enqueue q delay=1h");
  World& world = script.world();
  CHECK(world.send_together({{"a", command::RetryJob{kFirst}}, {"b", command::RetryJob{kFirst}}}) ==
        Lines{"a <- j1: was scheduled, is ready", "b <- j1: was ready, is ready"});
  CHECK(world.send_together(
            {{"a", command::SnoozeJob{kFirst, {60'000}, {}}}, {"b", command::SnoozeJob{kFirst, {1}, {}}}}) ==
        Lines{"a <- j1: was ready, is scheduled", "b <- j1: was scheduled, is scheduled"});
  CHECK(world.send_together({{"a", command::CancelJob{kFirst}}, {"b", command::CancelJob{kFirst}}}) ==
        Lines{"a <- j1: was scheduled, is gone",
              "b <- error gone: job j1 has left the broker already; `jobq job show j1` says how, while it is "
              "remembered"});
}

TEST_CASE("a worker that comes back in the turn in which its job ended is told so") {
  Script script;
  script.run("enqueue q n=2");
  script.run("worker w q credit=2");
  World& world = script.world();
  protocol::Register again;
  again.queues.push_back({"q", 1});
  again.session = world.session("w")->number;
  again.secret = world.session("w")->secret;
  again.held = {{kFirst, 1}, {JobId{2}, 1}};
  CHECK(world.send_together({{"w", ack(kFirst, 1)}, {"v", again}}) ==
        Lines{"w <- outcomes: settled", "v <- registered session 1 resumed; held: gone owned"});
  protocol::Register outcome = again;
  outcome.held.clear();
  outcome.outcomes = ack(JobId{2}, 1).outcomes;
  CHECK(world.send_together({{"v", ack(JobId{2}, 1)}, {"u", outcome}}) ==
        Lines{"v <- outcomes: settled", "u <- registered session 1 resumed; outcomes: settled"});
}

TEST_CASE("a queue that was written to in this turn is removed in the next") {
  Script script;
  script.run("queue q");
  World& world = script.world();
  protocol::Enqueue request = keyed("x");
  CHECK(world.send_together({{"p", request}, {"op", command::RemoveQueue{"q"}}})
            .at(1)
            .starts_with("op <- error wrong_state: queue 'q' still has jobs: 1 ready"));
  CHECK(world.send_together({{"op", command::CancelJob{kFirst}}, {"op", command::RemoveQueue{"q"}}}) ==
        Lines{"op <- j1: was ready, is gone", "op <- removed q"});
}

TEST_CASE("a job that was cancelled while it was looked for by an expiry, a purge, a redrive is left alone") {
  Script script;
  World& world = script.world();
  script.run("queue q");
  script.run("enqueue q n=3 max_attempts=1");
  script.run("enqueue q n=2 delay=1h");
  // The pages of the purge and the cancellations come in the same turn: the page was read before.
  const Lines told = world.send_together({{"op", command::PurgeQueue{"q"}},
                                          {"op", command::CancelJob{JobId{2}}},
                                          {"op", command::CancelJob{JobId{5}}}});
  CHECK(told.at(0).starts_with("op <- task 1 queue.purge running"));
  CHECK(script.run("counters q") ==
        Lines{"ready 0 leased 0 scheduled 0 dead 0; enqueued 5; cancelled 2; purged 3"});
}

}  // namespace jobq::testing
