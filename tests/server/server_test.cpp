// The loop: what it may say and when.
#include <doctest/doctest.h>

#include "tests/server/server_world.hpp"

using namespace jobq;
using namespace jobq::protocol;

namespace {

constexpr PeerId kProducer{1}, kWorker{2}, kOther{3};

}  // namespace

TEST_CASE("a connection greets before anything else") {
  ServerWorld world;
  const std::uint64_t id = world.send(kProducer, enqueue_one("q", "x"));
  world.settle();
  auto messages = world.received(kProducer);
  REQUIRE(messages.size() == 1);
  CHECK(messages[0].request_id == id);
  CHECK(std::get<Error>(messages[0].body).code == Code::not_greeted);

  world.greet(kProducer);
  world.settle();
  const auto welcome = world.only<Welcome>(kProducer);
  CHECK(welcome.body_bytes_max == limits::kBodyBytesDefault);
  CHECK(welcome.heartbeat_ms == 5'000);
  world.send(kProducer, enqueue_one("q", "x"));
  world.settle();
  CHECK(world.only<Enqueued>(kProducer).results.at(0).outcome == EnqueueOutcome::created);
}

TEST_CASE("a client of another time is told which versions this broker speaks") {
  ServerWorld world;
  Hello hello;
  hello.version_min = hello.version_max = 9;
  world.send(kProducer, hello);
  world.settle();
  CHECK(world.only<Error>(kProducer).code == Code::unsupported_version);
}

TEST_CASE("bytes that are no message are answered and change nothing") {
  ServerWorld world;
  world.transport.put(kProducer, "\xFF\xFF");
  world.transport.put_refused(kProducer);
  world.settle();
  auto messages = world.received(kProducer);
  REQUIRE(messages.size() == 2);
  for (const auto& message : messages) CHECK(std::get<Error>(message.body).code == Code::bad_message);
}

TEST_CASE("a job travels from a producer to a worker with all that is stored of it") {
  ServerWorld world;
  world.greet(kProducer);
  world.greet(kWorker);
  Enqueue request = enqueue_one("receipts", "order 42");
  request.jobs[0].type = "mail";
  const std::string headers = pack_headers({{"trace", "7f"}});
  request.jobs[0].headers = headers;
  world.send(kProducer, request);
  world.send(kWorker, worker_of("receipts", 5));
  world.settle();
  const Deliver deliver = world.only<Deliver>(kWorker);
  REQUIRE(deliver.jobs.size() == 1);
  CHECK(deliver.jobs[0].body == "order 42");
  CHECK(deliver.jobs[0].type == "mail");
  CHECK(deliver.jobs[0].headers == headers);
  CHECK(deliver.jobs[0].queue == "receipts");
  CHECK(deliver.jobs[0].attempt == 1);
}

TEST_CASE("nobody hears of what is not on disk") {
  ServerWorld world;
  world.greet(kProducer);
  world.greet(kWorker);
  world.send(kWorker, worker_of("q", 1));
  world.settle();
  world.received(kProducer);
  world.received(kWorker);
  world.send(kProducer, enqueue_one("q", "x"));
  world.store.fail_submit(1, {Code::io_error, "the disk is gone"});
  const Status turned = world.turn();
  CHECK(turned.code() == Code::io_error);
  CHECK(world.received(kProducer).empty());
  CHECK(world.received(kWorker).empty());
}

TEST_CASE("a session is on disk before its worker hears of it") {
  ServerWorld world;
  for (const PeerId peer : {kWorker, kOther}) world.greet(peer);
  world.send(kWorker, worker_of("q", 1));
  world.settle();
  // Nothing but the session is new now: no queue, no job.
  world.send(kOther, worker_of("q", 1));
  world.settle();
  const Registered registered = world.only<Registered>(kOther);
  world.memory.restart();
  const Result<Recovered> recovered = world.memory.recover();
  REQUIRE(recovered.ok());
  CHECK(recovered->mark.next_session > registered.session);
}

TEST_CASE("while the disk is nearly full, enqueues are refused and acks are not, until there is room again") {
  Config config;
  config.store_min_free_bytes = std::uint64_t{64} << 20;
  ServerWorld world(config);
  for (const PeerId peer : {kProducer, kWorker}) world.greet(peer);
  world.send(kProducer, enqueue_one("q", "before"));
  world.send(kWorker, worker_of("q", 1));
  world.settle();
  const Deliver deliver = world.only<Deliver>(kWorker);
  REQUIRE(deliver.jobs.size() == 1);
  world.received(kProducer);

  StoreHealth health = world.memory.health();
  health.disk_free_bytes = std::uint64_t{63} << 20;
  world.store.pretend(health);
  world.advance(DurationMs{1'000});
  world.send(kProducer, enqueue_one("q", "during"));
  Outcomes ack;
  ack.outcomes.push_back({deliver.jobs[0].lease, OutcomeKind::ack, {}, {}, {}});
  world.send(kWorker, ack);
  world.settle();
  const Enqueued refused = world.only<Enqueued>(kProducer);
  CHECK(refused.results[0].outcome == EnqueueOutcome::refused);
  CHECK(refused.results[0].code == Code::disk_full);
  CHECK(refused.results[0].retry_after_ms > 0);
  CHECK(world.only<OutcomesReply>(kWorker).results == std::vector{ClaimResult::settled});

  health.disk_free_bytes = std::uint64_t{65} << 20;
  world.store.pretend(health);
  world.advance(DurationMs{1'000});
  world.send(kProducer, enqueue_one("q", "after"));
  world.settle();
  CHECK(world.only<Enqueued>(kProducer).results[0].outcome == EnqueueOutcome::created);
}

TEST_CASE("a turn without changes writes nothing") {
  ServerWorld world;
  world.greet(kProducer);
  world.settle();
  const std::uint64_t commits = world.store.health().commits;
  for (int i = 0; i < 5; ++i) {
    world.send(kProducer, Admin{"ping", {}});
    world.settle();
  }
  CHECK(world.store.health().commits == commits);
}

TEST_CASE("a delivery that cannot be sent goes to the next worker, uncounted") {
  ServerWorld world;
  for (const PeerId peer : {kProducer, kWorker, kOther}) world.greet(peer);
  world.send(kWorker, worker_of("q", 1));
  world.settle();
  world.transport.break_sends_to(kWorker);
  world.send(kProducer, enqueue_one("q", "x"));
  world.send(kOther, worker_of("q", 1));
  world.settle();
  // A released job is not offered to the same session for a second, but to another at once.
  std::vector<Delivery> delivered;
  std::vector<ReplyMessage> messages = world.received(kOther);
  for (const ReplyMessage& message : messages) {
    if (const auto* deliver = std::get_if<Deliver>(&message.body)) {
      delivered.insert(delivered.end(), deliver->jobs.begin(), deliver->jobs.end());
    }
  }
  REQUIRE(delivered.size() == 1);
  CHECK(delivered[0].attempt == 1);
}

TEST_CASE("large jobs are not read for a worker that has no room for them") {
  Config config;
  config.engine.body_bytes_max = 4U << 20;
  ServerWorld world(config);
  for (const PeerId peer : {kProducer, kWorker, kOther}) world.greet(peer);
  world.send(kWorker, worker_of("q", 1));
  world.settle();
  world.transport.fill(kWorker);
  const std::string large(2U << 20, 'x');
  const std::uint64_t visits = world.store.visits();
  world.send(kProducer, enqueue_one("q", large));
  world.settle();
  CHECK(world.store.visits() == visits);
  world.send(kOther, worker_of("q", 1));
  world.settle();
  CHECK(world.only<Deliver>(kOther).jobs.at(0).body == large);
  CHECK(world.store.visits() == visits + 8);  // a quarter of a MiB each
}

TEST_CASE("large deliveries are split into messages, each of whole jobs") {
  ServerWorld world;
  world.greet(kProducer);
  world.greet(kWorker);
  const std::string body(400'000, 'b');
  for (int i = 0; i < 7; ++i) world.send(kProducer, enqueue_one("q", body));
  world.settle();
  world.send(kWorker, worker_of("q", 7));
  world.settle();
  std::size_t messages = 0, jobs = 0;
  for (const auto& message : world.received(kWorker)) {
    const auto* deliver = std::get_if<Deliver>(&message.body);
    if (deliver == nullptr) continue;
    ++messages;
    for (const Delivery& delivery : deliver->jobs) {
      CHECK(delivery.body == body);
      ++jobs;
    }
  }
  CHECK(jobs == 7);
  CHECK(messages >= 3);  // 1 MiB each, or a little above
}

TEST_CASE("a lost worker's job waits for it and comes back as a crash after the grace") {
  ServerWorld world;
  for (const PeerId peer : {kProducer, kWorker, kOther}) world.greet(peer);
  world.send(kProducer, enqueue_one("q", "x"));
  world.send(kWorker, worker_of("q", 1));
  world.settle();
  CHECK(world.only<Deliver>(kWorker).jobs.size() == 1);
  world.transport.lose(kWorker);
  world.settle();
  CHECK_FALSE(world.engine->sessions(world.clock->read()).at(0).connected);
  world.advance(DurationMs{11'000});
  world.settle();
  const auto queue = world.engine->queue("q", world.clock->read());
  CHECK(queue->counters->crashed_total == 1);
}

TEST_CASE("two requests with one unique key in one turn: the second sees the first") {
  ServerWorld world;
  world.greet(kProducer);
  world.settle();
  world.received(kProducer);
  const std::uint64_t first = world.send(kProducer, enqueue_one("q", "a", "key"));
  const std::uint64_t second = world.send(kProducer, enqueue_one("q", "b", "key"));
  const std::uint64_t third = world.send(kProducer, enqueue_one("q", "c"));
  world.settle();
  std::map<std::uint64_t, EnqueueResult> results;
  for (const auto& message : world.received(kProducer)) {
    results[message.request_id] = std::get<Enqueued>(message.body).results.at(0);
  }
  REQUIRE(results.size() == 3);
  CHECK(results[first].outcome == EnqueueOutcome::created);
  CHECK(results[second].outcome == EnqueueOutcome::duplicate);
  CHECK(results[second].id == results[first].id);
  CHECK(results[second].body_differs);
  CHECK(results[third].outcome == EnqueueOutcome::created);
}

TEST_CASE("acks that nobody waits for are committed with what comes within a millisecond") {
  ServerWorld world;
  world.greet(kProducer);
  world.greet(kWorker);
  world.send(kWorker, worker_of("q", 1));
  world.send(kProducer, enqueue_one("q", "first"));
  world.settle();
  const auto settle_with = [&](const LeaseRef& lease, OutcomeKind kind) {
    world.send(kWorker, Outcomes{{{lease, kind, "", {}, {}}}, {}});
  };
  LeaseRef lease = world.only<Deliver>(kWorker).jobs.at(0).lease;
  world.received(kProducer);

  SUBCASE("an enqueue comes meanwhile") {
    settle_with(lease, OutcomeKind::ack);
    std::string frame;
    const Enqueue second = enqueue_one("q", "second");
    encode(RequestMessage{100, second}, &frame);
    world.transport.put_later(kProducer, frame);
    REQUIRE(world.turn().ok());
    CHECK(world.transport.waits_on() == 1);
    const auto said = world.received(kWorker);
    REQUIRE(said.size() == 2);
    CHECK(std::holds_alternative<OutcomesReply>(said[0].body));
    CHECK(std::holds_alternative<Deliver>(said[1].body));
    CHECK(world.only<Enqueued>(kProducer).results.at(0).outcome == EnqueueOutcome::created);
  }
  SUBCASE("nothing comes: they are committed alone") {
    settle_with(lease, OutcomeKind::ack);
    REQUIRE(world.turn().ok());
    CHECK(world.transport.waits_on() == 1);
    CHECK(world.only<OutcomesReply>(kWorker).results.at(0) == ClaimResult::settled);
  }
  SUBCASE("a job waits for the place") {
    world.send(kProducer, enqueue_one("q", "second"));
    world.settle();
    settle_with(lease, OutcomeKind::ack);
    REQUIRE(world.turn().ok());
    CHECK(world.transport.waits_on() == 0);
  }
  SUBCASE("it is no ack") {
    settle_with(lease, OutcomeKind::nack);
    REQUIRE(world.turn().ok());
    CHECK(world.transport.waits_on() == 0);
  }
  SUBCASE("somebody else has asked for something") {
    settle_with(lease, OutcomeKind::ack);
    world.greet(kOther);
    REQUIRE(world.turn().ok());
    CHECK(world.transport.waits_on() == 0);
  }
}

TEST_CASE("a turn takes so many jobs and leaves the rest for the next") {
  Config config;
  config.jobs_per_turn = 3;
  ServerWorld world(config);
  world.greet(kProducer);
  world.settle();
  for (int i = 0; i < 7; ++i) world.send(kProducer, enqueue_one("q", "x"));
  REQUIRE(world.turn().ok());
  CHECK(world.transport.waiting() == 4);
  world.settle();
  CHECK(world.engine->queue("q", world.clock->read())->counters->ready == 7);
}

TEST_CASE("everybody who has greeted is told that the broker stops") {
  ServerWorld world;
  world.greet(kProducer);
  world.settle();
  world.received(kProducer);
  world.server->say_goodbye();
  CHECK(world.only<Bye>(kProducer).reason == Code::shutting_down);
  CHECK(world.received(kWorker).empty());
}
