// The worker's state machine in virtual time: leases, outcomes until they are answered, reconnects, stops.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "tests/client/worker_core_fixture.hpp"

using namespace jobq;
using protocol::ClaimResult;
using protocol::LeaseRef;
using protocol::OutcomeKind;
using test::answer;
using test::greet;
using test::kHeartbeat;
using test::kLease;
using test::kOne;
using test::kTwo;
using test::Sent;
using Fixture = test::WorkerCoreFixture;

TEST_CASE_FIXTURE(Fixture, "registers with what it serves, once greeted") {
  const Sent sent = start(TimeMs{1000});
  const auto& request = sent.as<protocol::Register>();
  CHECK_FALSE(request.session.is_set());
  REQUIRE(request.queues.size() == 2);
  CHECK(request.queues[0].name == "mail");
  CHECK(request.queues[0].weight == 3);
  CHECK(request.types == std::vector<std::string_view>{"SendReceipt"});
  CHECK(request.credit_jobs == 4);
  CHECK(request.held.empty());
  CHECK(core.registered());
}

TEST_CASE_FIXTURE(Fixture, "a delivered job runs, its outcome is sent until it is answered") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1100});
  const auto runs = take<worker_event::Run>();
  REQUIRE(runs.size() == 1);
  CHECK(runs[0].job.lease == kOne);
  CHECK(runs[0].job.body == "body");
  CHECK(runs[0].owned_until == TimeMs{1100 + kLease});

  core.finish({kOne, OutcomeKind::nack, "smtp: 451", {}, DurationMs{12}}, TimeMs{1200});
  auto sent = tick(TimeMs{1200});
  REQUIRE(sent.size() == 1);
  const auto& message = sent[0].as<protocol::Outcomes>();
  REQUIRE(message.outcomes.size() == 1);
  CHECK(message.outcomes[0].lease == kOne);
  CHECK(message.outcomes[0].kind == OutcomeKind::nack);
  CHECK(message.outcomes[0].text == "smtp: 451");
  CHECK(core.unanswered() == 1);
  answer(core, sent[0].message.request_id, protocol::OutcomesReply{{ClaimResult::settled}}, TimeMs{1201});
  CHECK(core.unanswered() == 0);
  CHECK(tick(TimeMs{1202}).empty());
}

TEST_CASE_FIXTURE(Fixture, "the same delivery twice, and one of another session, run nothing more") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1100});
  deliver(kOne, TimeMs{1101});
  deliver(kTwo, TimeMs{1102}, 0, 78);
  CHECK(take<worker_event::Run>().size() == 1);
  CHECK(core.held() == 1);
}

TEST_CASE_FIXTURE(Fixture,
                  "what was delivered while the process stood still is not run when its lease may be over") {
  start(TimeMs{1000});
  tick(TimeMs{1000});
  deliver(kOne, TimeMs{1000 + kLease});  // it should have said something long ago
  CHECK(take<worker_event::Run>().empty());
  CHECK(core.held() == 0);
  CHECK(core.unanswered() == 1);  // released: who knows whose it is
}

TEST_CASE_FIXTURE(Fixture, "nor when it was silent for so long that the broker may have given it up") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1000});
  tick(TimeMs{1000});
  take<worker_event::Run>();
  deliver(kTwo, TimeMs{1000 + 3 * kHeartbeat - 1});
  CHECK(take<worker_event::Run>().size() == 1);
  deliver({JobId{13}, 1}, TimeMs{1000 + 3 * kHeartbeat});
  CHECK(take<worker_event::Run>().empty());
  CHECK(core.unanswered() == 1);  // released
}

TEST_CASE_FIXTURE(Fixture, "nor when the standstill began before the broker had said how long it waits") {
  core.connected(TimeMs{1000});
  greet(core, TimeMs{1000});
  const auto asked = tick(TimeMs{1000});
  REQUIRE(asked.size() == 1);
  protocol::Registered reply;
  reply.session = SessionNo{77};
  reply.heartbeat_ms = 500;
  answer(core, asked[0].message.request_id, reply, TimeMs{2500});
  deliver(kOne, TimeMs{2500});
  CHECK(take<worker_event::Run>().empty());
  CHECK(core.unanswered() == 1);  // released
}

TEST_CASE_FIXTURE(Fixture, "a short standstill only shortens the leases of what came meanwhile") {
  start(TimeMs{1000});
  tick(TimeMs{1000});
  deliver(kOne, TimeMs{9000});
  tick(TimeMs{9000});
  const auto runs = take<worker_event::Run>();
  REQUIRE(runs.size() == 1);
  CHECK(runs[0].owned_until == TimeMs{1000 + kLease});
  // What comes before the reply to the first question after that may be old as well; what comes behind it is not.
  deliver(kTwo, TimeMs{9100});
  CHECK(take<worker_event::Run>().at(0).owned_until == TimeMs{1000 + kLease});
  answer(core, 3, protocol::HeartbeatReply{}, TimeMs{9200});
  deliver({JobId{13}, 1}, TimeMs{9300});
  CHECK(take<worker_event::Run>().at(0).owned_until == TimeMs{9300 + kLease});
}

TEST_CASE_FIXTURE(Fixture, "outcomes gather while messages are in flight") {
  start(TimeMs{1000});
  for (std::uint64_t i = 0; i < 4; ++i) deliver({JobId{20 + i}, 1}, TimeMs{1100});
  core.finish({{JobId{20}, 1}, OutcomeKind::ack, "", {}, {}}, TimeMs{1200});
  CHECK(tick(TimeMs{1200}).size() == 1);
  core.finish({{JobId{21}, 1}, OutcomeKind::ack, "", {}, {}}, TimeMs{1201});
  const auto second = tick(TimeMs{1201});
  REQUIRE(second.size() == WorkerCore::kOutcomeMessagesInFlight - 1);
  core.finish({{JobId{22}, 1}, OutcomeKind::ack, "", {}, {}}, TimeMs{1202});
  core.finish({{JobId{23}, 1}, OutcomeKind::ack, "", {}, {}}, TimeMs{1203});
  CHECK(tick(TimeMs{1203}).empty());
  answer(core, second[0].message.request_id, protocol::OutcomesReply{{ClaimResult::settled}}, TimeMs{1204});
  const auto third = tick(TimeMs{1204});
  REQUIRE(third.size() == 1);
  CHECK(third[0].as<protocol::Outcomes>().outcomes.size() == 2);
}

TEST_CASE_FIXTURE(Fixture, "leases are extended at a third, counted from the sending of the extension") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1000});
  // It may ride along with a heartbeat a little earlier, never later.
  TimeMs asked{};
  for (TimeMs now{1500}; !asked.is_set() && now <= TimeMs{1000 + kLease / 3}; now = now + DurationMs{500}) {
    for (const Sent& sent : tick(now)) {
      const auto& heartbeat = sent.as<protocol::Heartbeat>();
      if (heartbeat.extend.empty()) {
        answer(core, sent.message.request_id, protocol::HeartbeatReply{}, now);
        continue;
      }
      CHECK(heartbeat.extend[0] == kOne);
      asked = now;
      answer(core, sent.message.request_id, protocol::HeartbeatReply{{ClaimResult::owned}, {Code::ok}},
             now + DurationMs{400});
    }
  }
  REQUIRE(asked.is_set());
  tick(asked + DurationMs{400});
  const auto extended = take<worker_event::Extended>();
  REQUIRE(extended.size() == 1);
  CHECK(extended[0].owned_until == asked + DurationMs{kLease});
  CHECK(extended[0].asked_at == asked);
}

TEST_CASE_FIXTURE(Fixture, "says something within each heartbeat time") {
  start(TimeMs{1000});
  tick(TimeMs{1000});
  CHECK(tick(TimeMs{5499}).empty());
  CHECK(core.next_deadline() == TimeMs{5500});
  const auto sent = tick(TimeMs{5500});
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].as<protocol::Heartbeat>().extend.empty());
  CHECK_FALSE(sent[0].as<protocol::Heartbeat>().credit_jobs.has_value());
}

TEST_CASE_FIXTURE(Fixture, "idle workers that began at different moments say it at the same") {
  start(TimeMs{1033});
  tick(TimeMs{1033});
  CHECK(core.next_deadline() == TimeMs{5500});
  Fixture other;
  other.start(TimeMs{1216});
  other.tick(TimeMs{1216});
  CHECK(other.core.next_deadline() == TimeMs{5500});
  CHECK(tick(TimeMs{5499}).empty());
  CHECK(tick(TimeMs{5500}).size() == 1);
  CHECK(other.tick(TimeMs{5500}).size() == 1);
  CHECK(core.next_deadline() == TimeMs{10'000});
}

TEST_CASE_FIXTURE(Fixture,
                  "its own deadline stops the handler, but the job is claimed and its outcome reported") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1000});
  core.disconnected(TimeMs{2000});
  tick(TimeMs{1000 + kLease - 1});
  CHECK(take<worker_event::Stop>().empty());
  tick(TimeMs{1000 + kLease});
  const auto stops = take<worker_event::Stop>();
  REQUIRE(stops.size() == 1);
  CHECK(stops[0].reason == StopReason::lost_lease);
  CHECK_FALSE(stops[0].lost);

  const TimeMs back{60'000};
  const Sent again = start(back, {ClaimResult::owned});
  REQUIRE(again.as<protocol::Register>().held.size() == 1);
  CHECK(again.as<protocol::Register>().session == SessionNo{77});
  core.finish({kOne, OutcomeKind::ack, "", {}, {}}, back);
  const auto sent = tick(back);
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].as<protocol::Outcomes>().outcomes[0].lease == kOne);
}

TEST_CASE_FIXTURE(Fixture, "after a reconnect it claims what it holds and repeats every unanswered outcome") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1100});
  deliver(kTwo, TimeMs{1100});
  core.finish({kTwo, OutcomeKind::ack, "", {}, {}}, TimeMs{1200});
  REQUIRE(tick(TimeMs{1200}).size() == 1);  // Sent; the broker dies before it answers.
  core.disconnected(TimeMs{1300});
  const Sent again = start(TimeMs{2000}, {ClaimResult::owned}, {ClaimResult::settled});
  const auto& request = again.as<protocol::Register>();
  CHECK(request.session == SessionNo{77});
  CHECK(request.secret[0] == 9);
  REQUIRE(request.held.size() == 1);
  CHECK(request.held[0] == kOne);
  REQUIRE(request.outcomes.size() == 1);
  CHECK(request.outcomes[0].lease == kTwo);
  CHECK(core.unanswered() == 0);
  CHECK(core.held() == 1);
  tick(TimeMs{2000});
  const auto extended = take<worker_event::Extended>();
  REQUIRE(extended.size() == 1);
  CHECK(extended[0].owned_until == TimeMs{2000 + kLease});
}

TEST_CASE_FIXTURE(Fixture, "a claim that is refused stops the handler for good: its outcome is not sent") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1100});
  core.disconnected(TimeMs{1300});
  start(TimeMs{50'000}, {ClaimResult::stale});
  tick(TimeMs{50'000});
  bool lost = false;
  for (const auto& stop : take<worker_event::Stop>()) lost = lost || stop.lost;
  CHECK(lost);
  core.finish({kOne, OutcomeKind::ack, "", {}, {}}, TimeMs{50'001});
  CHECK(core.unanswered() == 0);
  for (const Sent& sent : tick(TimeMs{50'001}))
    CHECK_FALSE(std::holds_alternative<protocol::Outcomes>(sent.message.body));
}

TEST_CASE_FIXTURE(Fixture, "revoked and cancelled jobs are asked to stop") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1100});
  deliver(kTwo, TimeMs{1100});
  answer(core, 0, protocol::Revoked{{kOne}}, TimeMs{1200});
  answer(core, 0, protocol::CancelRequested{{kTwo}}, TimeMs{1200});
  answer(core, 0, protocol::CancelRequested{{kTwo}}, TimeMs{1201});
  tick(TimeMs{1201});
  const auto stops = take<worker_event::Stop>();
  REQUIRE(stops.size() == 2);
  CHECK(stops[0].reason == StopReason::lost_lease);
  CHECK(stops[0].lost);
  CHECK(stops[1].reason == StopReason::cancel);
  CHECK_FALSE(stops[1].lost);
  CHECK(core.held() == 1);
}

TEST_CASE_FIXTURE(Fixture, "max_run_time counts from the start of the handler") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1000}, 2000);
  core.started(kOne, TimeMs{2000});
  tick(TimeMs{3999});
  CHECK(take<worker_event::Stop>().empty());
  tick(TimeMs{4000});
  const auto stops = take<worker_event::Stop>();
  REQUIRE(stops.size() == 1);
  CHECK(stops[0].reason == StopReason::max_run_time);
}

TEST_CASE_FIXTURE(Fixture, "an extension refused for its length stops the handler but keeps the lease") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1000});
  core.extend(kOne, TimeMs{1500});
  const auto sent = tick(TimeMs{1500});
  REQUIRE(sent.size() == 1);
  answer(core, sent[0].message.request_id,
         protocol::HeartbeatReply{{ClaimResult::owned}, {Code::extend_limit}}, TimeMs{1501});
  tick(TimeMs{1501});
  const auto stops = take<worker_event::Stop>();
  REQUIRE(stops.size() == 1);
  CHECK(stops[0].reason == StopReason::max_run_time);
  CHECK(core.held() == 1);
}

TEST_CASE_FIXTURE(Fixture, "another store: nothing is claimed, everything that runs is lost") {
  start(TimeMs{1000});
  deliver(kOne, TimeMs{1100});
  deliver(kTwo, TimeMs{1100});
  core.finish({kTwo, OutcomeKind::ack, "", {}, {}}, TimeMs{1200});
  core.disconnected(TimeMs{1300});
  greet(core, TimeMs{2000}, 2);
  const auto sent = tick_sent(TimeMs{2000});
  REQUIRE(sent.size() == 1);
  const auto& request = sent[0].as<protocol::Register>();
  CHECK_FALSE(request.session.is_set());
  CHECK(request.held.empty());
  CHECK(request.outcomes.empty());
  CHECK(take<worker_event::Stop>().size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "a broker that stops is left and found again") {
  start(TimeMs{1000});
  answer(core, 0, protocol::Bye{Code::shutting_down, 1500}, TimeMs{1100});
  CHECK_FALSE(core.registered());
  tick(TimeMs{2599});
  CHECK_FALSE(core.link().take_reconnect());
  tick(TimeMs{2600});
  CHECK(core.link().take_reconnect());
}

TEST_CASE_FIXTURE(Fixture, "a broker that is silent on a connection that is up gets a new one") {
  start(TimeMs{1000});
  REQUIRE(tick(TimeMs{5500}).size() == 1);  // A heartbeat that is never answered.
  core.tick(TimeMs{5499} + WorkerCore::kAnswerTimeout);
  CHECK_FALSE(core.link().take_reconnect());
  core.tick(TimeMs{5500} + WorkerCore::kAnswerTimeout);
  CHECK(core.link().take_reconnect());
}

TEST_CASE_FIXTURE(Fixture, "more outcomes than one message holds: the rest is claimed at first, then sent") {
  start(TimeMs{1000});
  constexpr std::uint64_t kMany = 1200;
  for (std::uint64_t i = 0; i < kMany; ++i) deliver({JobId{100 + i}, 1}, TimeMs{1100});
  core.disconnected(TimeMs{1200});
  for (std::uint64_t i = 0; i < kMany; ++i) {
    core.finish({{JobId{100 + i}, 1}, OutcomeKind::nack, std::string(5000, 'e'), {}, {}}, TimeMs{1300});
  }
  greet(core, TimeMs{2000});
  const auto sent = tick_sent(TimeMs{2000});
  REQUIRE(sent.size() == 1);
  const auto& request = sent[0].as<protocol::Register>();
  CHECK(request.outcomes[0].text.size() == limits::kErrorTextBytesMax);
  CHECK(request.outcomes.size() < kMany);
  CHECK(request.outcomes.size() + request.held.size() == kMany);

  protocol::Registered reply;
  reply.session = SessionNo{77};
  reply.resumed = true;
  reply.held.assign(request.held.size(), ClaimResult::owned);
  reply.outcomes.assign(request.outcomes.size(), ClaimResult::settled);
  answer(core, sent[0].message.request_id, reply, TimeMs{2001});
  const std::size_t left = request.held.size();
  CHECK(core.unanswered() == left);
  std::size_t answered = 0;
  for (TimeMs now{2002}; answered < left && now < TimeMs{2020}; now = now + DurationMs{1}) {
    for (const Sent& more : tick(now)) {
      const auto& message = more.as<protocol::Outcomes>();
      answered += message.outcomes.size();
      answer(core, more.message.request_id,
             protocol::OutcomesReply{std::vector<ClaimResult>(message.outcomes.size(), ClaimResult::settled)},
             now);
    }
  }
  CHECK(answered == left);
  CHECK(core.unanswered() == 0);
}
