// What can be seen of the engine: who waits for what, who is lost, silent or starved, and what lies outside of memory.
#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "tests/engine/transcript.hpp"
#include "tests/engine/world.hpp"

namespace jobq::testing {
namespace {

using Lines = std::vector<std::string>;

QueueView view_of(Script& script, std::string_view queue) {
  const auto view = script.world().engine().queue(queue, script.world().now());
  REQUIRE(view.has_value());
  return *view;
}

}  // namespace

TEST_CASE("numbers that were never given name nothing") {
  Script script;
  script.run("enqueue q type=mail");
  const Engine& engine = script.world().engine();
  CHECK(engine.queue_name(1) == "q");
  CHECK(engine.queue_name(99).empty());
  CHECK(engine.type_name(1) == "mail");
  CHECK(engine.type_name(99).empty());
  CHECK_FALSE(engine.queue("none", script.world().now()).has_value());
  CHECK_FALSE(engine.lease(JobId{1}).has_value());
  CHECK(engine.held_by(SessionNo{9}, 10).empty());
  JobMeta nowhere;
  nowhere.lane.queue = 99;
  CHECK(engine.waiting(nowhere, script.world().now()).workers == 0);
}

TEST_CASE("what a session holds is listed by id, up to a limit, and a lost one is shown as lost") {
  Script script;
  script.run("enqueue q n=3");
  script.run("worker w q credit=3 types=,mail");
  const Engine& engine = script.world().engine();
  const SessionNo session = script.world().session("w")->number;
  const auto all = engine.held_by(session, 10);
  REQUIRE(all.size() == 3);
  CHECK(all[0].first == JobId{1});
  CHECK(all[2].first == JobId{3});
  CHECK(engine.held_by(session, 2).size() == 2);
  CHECK(engine.session_peers().size() == 1);
  script.run("advance 2s");
  auto sessions = engine.sessions(script.world().now());
  REQUIRE(sessions.size() == 1);
  CHECK(sessions[0].connected);
  CHECK(sessions[0].silent_ms == 2'000);
  CHECK(sessions[0].types == std::vector<std::string_view>{"", "mail"});
  CHECK_FALSE(engine.lease(JobId{1})->lost);
  script.run("lost w");
  script.run("lost w");  // told twice: its grace goes on
  CHECK(engine.lease(JobId{1})->lost);
  CHECK(engine.session_peers().empty());
  sessions = engine.sessions(script.world().now());
  REQUIRE(sessions.size() == 1);
  CHECK_FALSE(sessions[0].connected);
}

TEST_CASE("a session that nobody has heard of since a restart is not silent, but unknown") {
  Script script;
  script.run("enqueue q");
  script.run("worker w q");
  script.run("restart down=5s");
  const auto sessions = script.world().engine().sessions(script.world().now());
  REQUIRE(sessions.size() == 1);
  CHECK(sessions[0].worker == "session 1");
  CHECK(sessions[0].silent_ms == 0);
}

TEST_CASE("types that nobody serves are named with their jobs") {
  Script script;
  script.run("enqueue q n=2 type=pdf");
  script.run("enqueue q type=mail priority=9");
  script.run("worker w q credit=0 types=mail");
  const QueueView view = view_of(script, "q");
  REQUIRE(view.unserved_types.size() == 1);
  CHECK(view.unserved_types[0].first == "pdf");
  CHECK(view.unserved_types[0].second == 2);
  CHECK_FALSE(view.starved);
}

TEST_CASE("jobs, free workers and nothing handed out for five seconds: starved, and only then") {
  Script script;
  script.run("admission shutting_down");  // the one reason for which the engine hands out nothing
  script.run("worker w q");
  script.run("admission ok");
  script.run("queue q paused=1");
  script.run("enqueue q");
  script.run("advance 4s");
  CHECK_FALSE(view_of(script, "q").starved);
  script.run("admission shutting_down");
  script.run("queue q paused=0");
  CHECK_FALSE(view_of(script, "q").starved);
  script.run("heartbeat w");
  script.run("advance 2s");
  CHECK(view_of(script, "q").starved);
  script.run("heartbeat w credit=0");
  CHECK_FALSE(view_of(script, "q").starved);
}

TEST_CASE("a window that holds a part of a lane says that there is more, and where a job stands") {
  Script script;
  script.run("limits lane_window=8");
  script.run("enqueue q n=50");
  script.run("enqueue q n=3 priority=7");
  CHECK(script.run("why j2").at(0).find("ahead 3") ==
        std::string::npos);  // nobody serves them: nothing is ahead
  script.run("worker w q credit=0");
  CHECK(script.run("why j2") == Lines{"workers 1 serving 1 busy 0/0 with room 0 ahead 4 draining 1"});
  CHECK(script.run("why " + to_text(JobId{30})).at(0).find(" or more") != std::string::npos);
  script.run("restart");
  script.run("worker w q credit=0");
  CHECK(script.run("why " + to_text(JobId{30})).at(0).find(" or more") != std::string::npos);
  CHECK(script.run("why " + to_text(JobId{51})) ==
        Lines{"workers 1 serving 1 busy 0/0 with room 0 ahead 0 draining 1"});
}

TEST_CASE("a job that its only worker gave back waits for the second in which another may have it") {
  Script script;
  script.run("enqueue q n=2");
  script.run("worker w q credit=1");
  script.run("release w j1/1");                                               // j2 comes to w instead
  CHECK(script.run("why j1").at(0).find("given back") == std::string::npos);  // w is busy
  script.run("ack w j2/1");
  CHECK(script.run("why j1").at(0).find("given back") != std::string::npos);
  script.run("enqueue other");
  CHECK(script.run("worker v q,other credit=1") ==
        Lines{"v <- registered session 2", "v <- deliver j1/2(q attempt 1 of 25)"});
}

TEST_CASE("a worker's bytes in flight are bounded, but one job it gets whatever its size") {
  Script script;
  script.run("enqueue q n=3 body=0123456789");
  CHECK(script.run("worker w q credit=3 bytes=15") ==
        Lines{"w <- registered session 1", "w <- deliver j1/1(q attempt 1 of 25)"});
  script.run("enqueue q body=12345 priority=9");
  CHECK(script.run("heartbeat w").size() >= 1);
  CHECK(view_of(script, "q").counters->leased == 2);  // 10 and 5 bytes: room for no more
  CHECK(script.run("worker v q credit=3 bytes=4") ==
        Lines{"v <- registered session 2", "v <- deliver j2/1(q attempt 1 of 25)"});
}

TEST_CASE("more jobs than one turn gives out come in the next ones, some hundred in a message") {
  Script script;
  script.run("limits dispatch_per_tick=300");
  script.run("enqueue q n=700");
  const Lines told = script.run("worker w q credit=1000");
  CHECK(view_of(script, "q").counters->leased == 700);
  CHECK(told.size() >= 4);
}

}  // namespace jobq::testing
