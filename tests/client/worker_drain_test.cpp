// The end of a worker in virtual time: what it still says, hands back and waits for.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "tests/client/worker_core_fixture.hpp"

using namespace jobq;
using protocol::ClaimResult;
using protocol::LeaseRef;
using protocol::OutcomeKind;
using test::answer;
using test::kOne;
using test::kTwo;
using Fixture = test::WorkerCoreFixture;

TEST_CASE_FIXTURE(Fixture, "a drain takes no more, stops, hands back in time, says goodbye and is done") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1100});
  const TimeMs begin{2000};
  core.drain(begin, begin + DurationMs{10'000}, DurationMs{3000});
  auto sent = tick(begin);
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].as<protocol::Heartbeat>().credit_jobs == 0U);

  deliver(kTwo, TimeMs{2001});  // It was on its way.
  CHECK(take<worker_event::Run>().size() == 1);
  CHECK(core.handed_back() == 1);

  tick(begin + DurationMs{5999});
  CHECK(take<worker_event::Stop>().empty());
  tick(begin + DurationMs{6000});
  const auto stops = take<worker_event::Stop>();
  REQUIRE(stops.size() == 1);
  CHECK(stops[0].reason == StopReason::drain);

  tick(begin + DurationMs{9000});
  CHECK(core.held() == 0);
  CHECK(core.unanswered() == 2);
  CHECK(core.handed_back() == 2);
  CHECK_FALSE(core.done());
  tick(begin + DurationMs{10'000});
  CHECK(core.done());  // The deadline holds although nobody answered.
}

TEST_CASE_FIXTURE(Fixture, "a drain says that it takes no more before it hands anything back") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1100});
  deliver(kTwo, TimeMs{1100});
  core.drain(TimeMs{2000}, TimeMs{12'000}, DurationMs{3000});
  core.hand_back(kTwo, TimeMs{2000});
  const auto sent = tick(TimeMs{2000});
  REQUIRE(sent.size() == 2);  // The other way round the broker would fill the freed credit at once.
  CHECK(sent[0].as<protocol::Heartbeat>().credit_jobs == 0U);
  REQUIRE(sent[1].as<protocol::Outcomes>().outcomes.size() == 1);
  CHECK(sent[1].as<protocol::Outcomes>().outcomes[0].lease == kTwo);
}

TEST_CASE_FIXTURE(Fixture, "a drain with everything answered ends with a goodbye, before its deadline") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1100});
  core.drain(TimeMs{2000}, TimeMs{12'000}, DurationMs{3000});
  tick(TimeMs{2000});
  core.finish({kOne, OutcomeKind::ack, "", {}, {}}, TimeMs{2500});
  auto sent = tick(TimeMs{2500});
  REQUIRE(sent.size() == 1);
  answer(core, sent[0].message.request_id, protocol::OutcomesReply{{ClaimResult::settled}}, TimeMs{2501});
  sent = tick(TimeMs{2501});
  REQUIRE(sent.size() == 1);
  sent[0].as<protocol::Goodbye>();
  CHECK_FALSE(core.done());
  answer(core, sent[0].message.request_id, protocol::GoodbyeReply{}, TimeMs{2502});
  CHECK(core.done());
  CHECK(core.handed_back() == 0);
}

TEST_CASE_FIXTURE(Fixture, "an idle worker that drains says goodbye and nothing after it") {
  start(TimeMs{1000});
  core.drain(TimeMs{2000}, TimeMs{12'000}, DurationMs{3000});
  const auto sent = tick(TimeMs{2000});
  REQUIRE(sent.size() == 1);  // A heartbeat behind it would be answered unknown_session.
  sent[0].as<protocol::Goodbye>();
  CHECK(tick(TimeMs{8000}).empty());
}

TEST_CASE_FIXTURE(Fixture, "a drain at once hands everything back now") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1100});
  core.drain(TimeMs{2000}, TimeMs{27'000}, DurationMs{3000});
  core.drain_at_once(TimeMs{2500}, TimeMs{3500});
  tick(TimeMs{2500});
  CHECK(core.held() == 0);
  CHECK(core.handed_back() == 1);
  CHECK(take<worker_event::Stop>().size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "without a broker and without jobs a drain is over at once") {
  core.drain(TimeMs{2000}, TimeMs{27'000}, DurationMs{3000});
  tick(TimeMs{2000});
  CHECK(core.done());
}
