// The producer's state machine in virtual time: packing, deadlines, and resends that make no second job.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "tests/client/producer_fixture.hpp"

using namespace jobq;
using test::answer;
using test::greet;
using test::kProducer;
using test::Sent;
using test::take_sent;
using Fixture = test::ProducerFixture;

TEST_CASE_FIXTURE(Fixture, "nothing is sent before the greeting, then what waits travels in one message") {
  submit(TimeMs{1000}, "a");
  submit(TimeMs{1000}, "b");
  CHECK(tick(TimeMs{1000}).empty());
  greet(core, TimeMs{1100});
  const auto sent = take_sent(core);
  REQUIRE(sent.size() == 1);
  const auto& request = sent[0].as<protocol::Enqueue>();
  CHECK(request.producer == kProducer);
  CHECK(request.sequence == 1);
  CHECK(request.lowest_open == 1);
  CHECK_FALSE(request.resend);
  REQUIRE(request.groups.size() == 2);
  CHECK(request.groups[1].queue == "receipts");
  CHECK(request.groups[1].count == 1);
  CHECK(request.jobs[1].body == "b");

  accept(sent[0], TimeMs{1200});
  tick(TimeMs{1200});
  REQUIRE(done.size() == 2);
  CHECK(done[0].token == 1);
  CHECK(done[0].results[0].outcome() == Outcome::accepted);
  CHECK(done[1].results[0]->id == to_text(JobId{101}));
}

TEST_CASE_FIXTURE(Fixture, "until the broker has stored something lowest_open stays 1") {
  greet(core, TimeMs{1000});
  submit(TimeMs{1000});
  const auto first = tick(TimeMs{1000});
  REQUIRE(first.size() == 1);
  protocol::Enqueued refused;
  refused.sequence = 1;
  refused.results.push_back({protocol::EnqueueOutcome::refused, {}, {}, false, Code::queue_full, 0});
  answer(core, first[0].message.request_id, refused, TimeMs{1001});
  submit(TimeMs{1002});
  const auto second = tick(TimeMs{1002});
  REQUIRE(second.size() == 1);
  CHECK(second[0].as<protocol::Enqueue>().sequence == 2);
  CHECK(second[0].as<protocol::Enqueue>().lowest_open == 1);
  accept(second[0], TimeMs{1003});
  submit(TimeMs{1004});
  const auto third = tick(TimeMs{1004});
  REQUIRE(third.size() == 1);
  CHECK(third[0].as<protocol::Enqueue>().lowest_open == 3);
}

TEST_CASE_FIXTURE(Fixture, "few small messages are in flight at a time: what comes meanwhile is packed") {
  greet(core, TimeMs{1000});
  for (std::size_t i = 0; i < ProducerCore::kEagerInFlight; ++i) {
    submit(TimeMs{1000});
    CHECK(tick(TimeMs{1000}).size() == 1);
  }
  submit(TimeMs{1001});
  submit(TimeMs{1002});
  CHECK(tick(TimeMs{1002}).empty());
}

TEST_CASE_FIXTURE(Fixture, "a full message goes out although others are in flight, but never too many") {
  greet(core, TimeMs{1000});
  establish(TimeMs{1000});
  for (std::size_t i = 0; i < ProducerCore::kPackJobs * 20; ++i) submit(TimeMs{1001});
  const auto sent = tick(TimeMs{1001});
  CHECK(sent.size() == ProducerCore::kInFlightMax);
  for (const Sent& message : sent)
    CHECK(message.as<protocol::Enqueue>().jobs.size() == ProducerCore::kPackJobs);
}

TEST_CASE("with packing off each call is a message of its own, and they do not wait for each other") {
  ClientCore core{{"tcp://127.0.0.1:7710", "test", "host", 1}, kProducer, false};
  greet(core, TimeMs{1});
  for (std::uint64_t token = 1; token <= 20; ++token) {
    SubmittedGroup group;
    group.token = token;
    group.queue = "receipts";
    group.jobs.resize(1);
    group.deadline = TimeMs{5000};
    core.producer().submit(group);
  }
  core.tick(TimeMs{1});
  const std::vector<Sent> sent = take_sent(core);
  CHECK(sent.size() == 20);
  for (const Sent& one : sent) CHECK(one.as<protocol::Enqueue>().jobs.size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "an unanswered request is sent again on the same connection, marked as a resend") {
  greet(core, TimeMs{1000});
  submit(TimeMs{1000}, "same", 60'000);
  const auto first = tick(TimeMs{1000});
  REQUIRE(core.next_deadline().has_value());
  CHECK(tick(TimeMs{2999}).empty());
  const auto second = tick(TimeMs{3000});
  REQUIRE(second.size() == 1);
  CHECK(second[0].as<protocol::Enqueue>().resend);
  CHECK(second[0].as<protocol::Enqueue>().sequence == first[0].as<protocol::Enqueue>().sequence);
  CHECK(second[0].as<protocol::Enqueue>().jobs[0].body == "same");
  // The next one comes later: 4 s after the second.
  CHECK(tick(TimeMs{6999}).empty());
  CHECK(tick(TimeMs{7000}).size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "a reply that comes twice completes once") {
  greet(core, TimeMs{1000});
  submit(TimeMs{1000});
  const auto first = tick(TimeMs{1000});
  const auto second = tick(TimeMs{3000});
  accept(first[0], TimeMs{3001}, 5);
  accept(second[0], TimeMs{3002}, 5);
  tick(TimeMs{3002});
  REQUIRE(done.size() == 1);
  CHECK(done[0].results[0]->id == to_text(JobId{5}));
}

TEST_CASE_FIXTURE(Fixture, "after a reconnect everything open is sent again in order, before anything new") {
  greet(core, TimeMs{1000});
  establish(TimeMs{1000});
  submit(TimeMs{1001}, "a");
  REQUIRE(tick(TimeMs{1001}).size() == 1);
  submit(TimeMs{1002}, "b");
  REQUIRE(tick(TimeMs{1002}).size() == 1);
  core.disconnected(TimeMs{1100});
  submit(TimeMs{1100}, "c");
  CHECK(tick(TimeMs{1100}).empty());
  greet(core, TimeMs{1500});
  const auto sent = take_sent(core);
  REQUIRE(sent.size() == 2);
  CHECK(sent[0].as<protocol::Enqueue>().jobs[0].body == "a");
  CHECK(sent[0].as<protocol::Enqueue>().resend);
  CHECK(sent[1].as<protocol::Enqueue>().jobs[0].body == "b");
  CHECK(sent[1].as<protocol::Enqueue>().lowest_open == 2);
  accept(sent[0], TimeMs{1501});
  const auto fresh = tick(TimeMs{1501});
  REQUIRE(fresh.size() == 1);
  CHECK(fresh[0].as<protocol::Enqueue>().jobs[0].body == "c");
  CHECK_FALSE(fresh[0].as<protocol::Enqueue>().resend);
}

TEST_CASE_FIXTURE(Fixture, "a producer that the broker has forgotten: unknown, and never sent as new") {
  greet(core, TimeMs{1000});
  establish(TimeMs{1000});
  submit(TimeMs{1000});
  REQUIRE(tick(TimeMs{1000}).size() == 1);
  core.disconnected(TimeMs{1001});
  greet(core, TimeMs{1500});
  const auto resent = take_sent(core);
  REQUIRE(resent.size() == 1);
  CHECK(resent[0].as<protocol::Enqueue>().resend);
  refuse(resent[0], Code::unknown_producer, TimeMs{1501});
  CHECK(tick(TimeMs{1501}).empty());
  REQUIRE(done.size() == 1);
  CHECK(done[0].results[0].outcome() == Outcome::unknown);
  CHECK(done[0].results[0].code() == Code::unknown_producer);
}

TEST_CASE_FIXTURE(Fixture,
                  "another store under the same endpoint: what was sent is unknown, what waits goes out") {
  greet(core, TimeMs{1000}, 1);
  submit(TimeMs{1000}, "sent");
  REQUIRE(tick(TimeMs{1000}).size() == 1);
  submit(TimeMs{1001}, "waits");
  core.disconnected(TimeMs{1002});
  greet(core, TimeMs{1500}, 2);
  const auto sent = take_sent(core);
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].as<protocol::Enqueue>().jobs[0].body == "waits");
  tick(TimeMs{1500});
  REQUIRE(done.size() == 1);
  CHECK(done[0].token == 1);
  CHECK(done[0].results[0].outcome() == Outcome::unknown);
}

TEST_CASE_FIXTURE(Fixture, "at the deadline: unreachable when it was never sent, unknown when it was") {
  submit(TimeMs{1000}, "never sent", 500);
  CHECK(core.next_deadline() == TimeMs{1500});
  tick(TimeMs{1499});
  CHECK(done.empty());
  tick(TimeMs{1500});
  REQUIRE(done.size() == 1);
  CHECK(done[0].results[0].outcome() == Outcome::refused);
  CHECK(done[0].results[0].code() == Code::unreachable);
  CHECK(done[0].results[0].status().text().find("tcp://127.0.0.1:7710") != std::string::npos);
  CHECK(done[0].results[0].retryable());

  greet(core, TimeMs{2000});
  submit(TimeMs{2000}, "sent", 500);
  REQUIRE(tick(TimeMs{2000}).size() == 1);
  tick(TimeMs{2500});
  REQUIRE(done.size() == 2);
  CHECK(done[1].results[0].outcome() == Outcome::unknown);
  CHECK(done[1].results[0].code() == Code::timed_out);
  CHECK(core.producer().open_groups() == 0);
  CHECK(core.producer().open_requests() == 0);
}

TEST_CASE_FIXTURE(Fixture,
                  "a resend keeps the jobs whose callers have given up, so that the content is the same") {
  greet(core, TimeMs{1000});
  submit(TimeMs{1000}, "impatient", 100);
  submit(TimeMs{1000}, "patient", 60'000);
  REQUIRE(tick(TimeMs{1000}).size() == 1);
  tick(TimeMs{1100});
  REQUIRE(done.size() == 1);
  core.disconnected(TimeMs{1200});
  greet(core, TimeMs{1300});
  const auto resent = take_sent(core);
  REQUIRE(resent.size() == 1);
  CHECK(resent[0].as<protocol::Enqueue>().jobs.size() == 2);
  accept(resent[0], TimeMs{1301}, 40);
  tick(TimeMs{1301});
  REQUIRE(done.size() == 2);
  CHECK(done[1].token == 2);
  CHECK(done[1].results[0]->id == to_text(JobId{41}));
}

TEST_CASE_FIXTURE(Fixture, "a broker that stops is waited for, within the deadline") {
  greet(core, TimeMs{1000});
  submit(TimeMs{1000});
  const auto first = tick(TimeMs{1000});
  refuse(first[0], Code::shutting_down, TimeMs{1010}, 300);
  CHECK(tick(TimeMs{1010}).empty());
  CHECK(done.empty());
  CHECK(core.next_deadline() == TimeMs{1310});
  const auto second = tick(TimeMs{1310});
  REQUIRE(second.size() == 1);
  accept(second[0], TimeMs{1311});
  tick(TimeMs{1311});
  REQUIRE(done.size() == 1);
  CHECK(done[0].results[0].ok());
}

TEST_CASE_FIXTURE(Fixture, "other refusals go to the caller at once, with how long to wait") {
  greet(core, TimeMs{1000});
  submit(TimeMs{1000});
  const auto sent = tick(TimeMs{1000});
  protocol::Enqueued reply;
  reply.sequence = 1;
  protocol::EnqueueResult refused;
  refused.outcome = protocol::EnqueueOutcome::refused;
  refused.code = Code::store_full;
  refused.retry_after_ms = 700;
  reply.results.push_back(refused);
  answer(core, sent[0].message.request_id, reply, TimeMs{1001});
  CHECK(tick(TimeMs{1001}).empty());
  REQUIRE(done.size() == 1);
  CHECK(done[0].results[0].outcome() == Outcome::refused);
  CHECK(done[0].results[0].code() == Code::store_full);
  CHECK(done[0].results[0].retryable());
  CHECK(done[0].results[0].retry_after() == std::chrono::milliseconds{700});
}

TEST_CASE_FIXTURE(Fixture,
                  "a request refused at its first sending is refused, at a later one it is unknown") {
  greet(core, TimeMs{1000});
  submit(TimeMs{1000}, "once", 60'000);
  refuse(tick(TimeMs{1000})[0], Code::bad_message, TimeMs{1001});
  tick(TimeMs{1001});
  REQUIRE(done.size() == 1);
  CHECK(done[0].results[0].outcome() == Outcome::refused);

  submit(TimeMs{2000}, "twice", 60'000);
  REQUIRE(tick(TimeMs{2000}).size() == 1);
  const auto again = tick(TimeMs{4000});
  REQUIRE(again.size() == 1);
  refuse(again[0], Code::bad_message, TimeMs{4001});
  tick(TimeMs{4001});
  REQUIRE(done.size() == 2);
  // The one that got no answer may have been stored.
  CHECK(done[1].results[0].outcome() == Outcome::unknown);
}

TEST_CASE_FIXTURE(Fixture, "a duplicate is a success that says whose the key is") {
  greet(core, TimeMs{1000});
  submit(TimeMs{1000});
  const auto sent = tick(TimeMs{1000});
  protocol::Enqueued reply;
  reply.sequence = 1;
  reply.results.push_back(
      {protocol::EnqueueOutcome::duplicate, JobId{9}, protocol::JobState::dead, true, Code::ok, 0});
  answer(core, sent[0].message.request_id, reply, TimeMs{1001});
  tick(TimeMs{1001});
  REQUIRE(done.size() == 1);
  const EnqueueResult& result = done[0].results[0];
  REQUIRE(result.ok());
  CHECK(result->duplicate);
  CHECK(result->body_differs);
  CHECK(result->state == Enqueued::State::dead);
  CHECK(result->id == to_text(JobId{9}));
}

TEST_CASE_FIXTURE(Fixture,
                  "a job that fits into no message is refused here and does not hold up the others") {
  greet(core, TimeMs{1000});
  submit(TimeMs{1000}, std::string(std::size_t{9} << 20, 'x'));
  submit(TimeMs{1000}, "small");
  const auto sent = tick(TimeMs{1000});
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].as<protocol::Enqueue>().jobs[0].body == "small");
  tick(TimeMs{1000});
  REQUIRE(done.size() == 1);
  CHECK(done[0].results[0].code() == Code::body_too_large);
}

TEST_CASE_FIXTURE(Fixture, "a broker that chooses a version which was not offered is not spoken to") {
  submit(TimeMs{1000});
  core.connected(TimeMs{1000});
  const auto hello = take_sent(core);
  REQUIRE(hello.size() == 1);
  protocol::Welcome welcome;
  welcome.version = 2;
  welcome.broker = "jobq-broker 9.1";
  answer(core, hello[0].message.request_id, welcome, TimeMs{1001});
  CHECK(tick(TimeMs{1001}).empty());
  REQUIRE(done.size() == 1);
  CHECK(done[0].results[0].code() == Code::unsupported_version);
  CHECK(done[0].results[0].status().text().find("jobq-broker 9.1") != std::string::npos);
  CHECK_FALSE(core.link().up());
}

TEST_CASE_FIXTURE(Fixture, "a broker of another version ends what waits with its reason") {
  submit(TimeMs{1000});
  core.connected(TimeMs{1000});
  const auto hello = take_sent(core);
  REQUIRE(hello.size() == 1);
  answer(core, hello[0].message.request_id, protocol::Error{Code::unsupported_version, "speaks 7 to 9", 0},
         TimeMs{1001});
  tick(TimeMs{1001});
  REQUIRE(done.size() == 1);
  CHECK(done[0].results[0].code() == Code::unsupported_version);
  CHECK_FALSE(core.link().take_reconnect());
  core.tick(TimeMs{1001} + Link::kRetryAfterRefusal);
  CHECK(core.link().take_reconnect());
}

TEST_CASE_FIXTURE(Fixture, "a broker that does not answer hello gets a new connection") {
  core.connected(TimeMs{1000});
  core.tick(TimeMs{1000});
  CHECK_FALSE(core.link().take_reconnect());
  CHECK(core.next_deadline() == TimeMs{1000} + Link::kHelloTimeout);
  core.tick(TimeMs{1000} + Link::kHelloTimeout);
  CHECK(core.link().take_reconnect());
}

TEST_CASE_FIXTURE(Fixture, "closing ends everything: sent ones unknown, waiting ones refused") {
  greet(core, TimeMs{1000});
  submit(TimeMs{1000}, "sent");
  REQUIRE(tick(TimeMs{1000}).size() == 1);
  submit(TimeMs{1001}, "waits");
  core.producer().close();
  tick(TimeMs{1001});
  REQUIRE(done.size() == 2);
  CHECK(done[0].results[0].outcome() == Outcome::unknown);
  CHECK(done[1].results[0].outcome() == Outcome::refused);
  CHECK(done[1].results[0].code() == Code::closed);
}

TEST_CASE_FIXTURE(Fixture, "bytes that are no message change nothing") {
  greet(core, TimeMs{1000});
  core.receive("\xff\xff nonsense", TimeMs{1000});
  core.receive("", TimeMs{1000});
  CHECK(core.bad_frames() == 2);
  CHECK(core.link().up());
}

TEST_CASE_FIXTURE(Fixture,
                  "an administrative call is answered, and repeated on a new connection only when harmless") {
  const TimeMs now{1000};
  greet(core, now);
  core.admin().submit(
      {1, "stats", {{"queue", std::string{"receipts"}}}, now + DurationMs{5000}, DurationMs{5000}});
  core.admin().submit({2, "dead.redrive", {}, now + DurationMs{5000}, DurationMs{5000}});
  core.admin().submit({3, "ping", {}, now + DurationMs{200}, DurationMs{200}});
  const auto sent = tick(now);
  REQUIRE(sent.size() == 3);
  CHECK(sent[0].as<protocol::Admin>().verb == "stats");
  CHECK(std::get<std::string_view>(sent[0].as<protocol::Admin>().params[0].value) == "receipts");

  tick(now + DurationMs{200});
  auto ended = core.admin().take_completions();
  REQUIRE(ended.size() == 1);
  CHECK(ended[0].token == 3);
  CHECK(ended[0].document.code() == Code::timed_out);

  core.disconnected(now + DurationMs{300});
  ended = core.admin().take_completions();
  REQUIRE(ended.size() == 1);
  CHECK(ended[0].token == 2);
  CHECK(ended[0].document.code() == Code::timed_out);

  greet(core, now + DurationMs{400});
  const auto again = take_sent(core);
  REQUIRE(again.size() == 1);
  answer(core, again[0].message.request_id, protocol::AdminReply{"\x80"}, now + DurationMs{401});
  ended = core.admin().take_completions();
  REQUIRE(ended.size() == 1);
  CHECK(*ended[0].document == "\x80");
}
