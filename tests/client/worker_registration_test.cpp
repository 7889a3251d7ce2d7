// The worker's state machine in virtual time: how it registers, and registers again.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "tests/client/worker_core_fixture.hpp"

using namespace jobq;
using protocol::ClaimResult;
using protocol::OutcomeKind;
using test::answer;
using test::greet;
using test::kHeartbeat;
using test::kOne;
using Fixture = test::WorkerCoreFixture;

TEST_CASE_FIXTURE(Fixture, "a session that the broker has ended is registered anew, with everything open") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1100});
  core.finish({kOne, OutcomeKind::ack, "", {}, {}}, TimeMs{1200});
  const auto sent = tick(TimeMs{1200});
  answer(core, sent[0].message.request_id, protocol::Error{Code::unknown_session, "register first", 0},
         TimeMs{1201});
  CHECK_FALSE(core.registered());
  const auto again = tick(TimeMs{1201});
  REQUIRE(again.size() == 1);
  CHECK(again[0].as<protocol::Register>().outcomes.size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "an outcome that is on its way twice, refused once and settled once, is settled") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1100});
  core.finish({kOne, OutcomeKind::ack, "", {}, {}}, TimeMs{1200});
  const auto outcomes = tick(TimeMs{1200});
  REQUIRE(outcomes.size() == 1);
  // A heartbeat is answered that the session has ended; the registration repeats the outcome on the same connection.
  const auto heartbeat = tick(TimeMs{6200});
  REQUIRE(heartbeat.size() == 1);
  answer(core, heartbeat[0].message.request_id, protocol::Error{Code::unknown_session, "register first", 0},
         TimeMs{6201});
  const auto again = tick(TimeMs{6201});
  REQUIRE(again.size() == 1);
  REQUIRE(again[0].as<protocol::Register>().outcomes.size() == 1);
  answer(core, outcomes[0].message.request_id, protocol::Error{Code::not_done, "the disk is slow", 0},
         TimeMs{6202});
  protocol::Registered reply;
  reply.session = SessionNo{78};
  reply.heartbeat_ms = 5000;
  reply.outcomes = {ClaimResult::settled};
  answer(core, again[0].message.request_id, reply, TimeMs{6203});
  CHECK(core.unanswered() == 0);
  CHECK(tick(TimeMs{6204}).empty());
}

// The broker had given a job to it after the first registration; a second one, which does not claim what is still on its
// way, would have the job given to another.
TEST_CASE_FIXTURE(Fixture, "what was refused before a registration does not make a second one") {
  start(TimeMs{1000});
  const auto heartbeat = tick(TimeMs{6000});
  REQUIRE(heartbeat.size() == 1);
  answer(core, 0, protocol::Bye{Code::unknown_session, 0}, TimeMs{6100});
  const auto again = tick(TimeMs{6100});
  REQUIRE(again.size() == 1);
  REQUIRE(std::holds_alternative<protocol::Register>(again[0].message.body));
  answer(core, heartbeat[0].message.request_id, protocol::Error{Code::unknown_session, "register first", 0},
         TimeMs{6200});
  answer(core, 0, protocol::Bye{Code::unknown_session, 0}, TimeMs{6201});
  CHECK(tick(TimeMs{7300}).empty());
  protocol::Registered reply;
  reply.session = SessionNo{77};
  reply.heartbeat_ms = kHeartbeat;
  answer(core, again[0].message.request_id, reply, TimeMs{7400});
  CHECK(core.registered());
  deliver(kOne, TimeMs{7401});
  CHECK(take<worker_event::Run>().size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "what is delivered before its registration is answered is not its own") {
  start(TimeMs{1000});
  answer(core, 0, protocol::Bye{Code::unknown_session, 0}, TimeMs{1100});
  const auto again = tick(TimeMs{1100});
  REQUIRE(again.size() == 1);
  deliver(kOne, TimeMs{1200});  // which the registration does not claim
  CHECK(take<worker_event::Run>().empty());
  protocol::Registered reply;
  reply.session = SessionNo{77};
  reply.heartbeat_ms = kHeartbeat;
  answer(core, again[0].message.request_id, reply, TimeMs{1300});
  deliver(kOne, TimeMs{1301});
  CHECK(take<worker_event::Run>().size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "a registration that no waiting mends is reported, and not repeated") {
  greet(core, TimeMs{1000});
  const auto sent = tick_sent(TimeMs{1000});
  answer(core, sent[0].message.request_id,
         protocol::Error{Code::no_such_queue, "no queue is called 'mail'", 0}, TimeMs{1001});
  CHECK(tick(TimeMs{10'000}).empty());
  const auto refused = take<worker_event::Refused>();
  REQUIRE(refused.size() == 1);
  CHECK(refused[0].status.code() == Code::no_such_queue);
}
