// Large jobs on their way out: a little in each turn, one after the other, and everybody else is served meanwhile.
#include <doctest/doctest.h>

#include "tests/server/server_world.hpp"

using namespace jobq;
using namespace jobq::protocol;

namespace {

constexpr PeerId kProducer{1}, kWorker{2}, kOther{3};
constexpr std::size_t kShare = 100'000;

Config in_small_shares() {
  Config config;
  config.engine.body_bytes_max = 8U << 20;
  config.large_jobs_share = kShare;
  return config;
}

// Any body, but no two pieces of it alike.
std::string large_body(std::size_t bytes) {
  std::string body;
  for (std::size_t i = 0; body.size() < bytes; ++i) body += std::to_string(i);
  body.resize(bytes);
  return body;
}

// A worker for queue q, and a job of a megabyte that waits for it: the next turn begins to hand it over.
struct LargeJobWorld : ServerWorld {
  explicit LargeJobWorld(std::uint32_t credit = 10) : ServerWorld(in_small_shares()) {
    for (const PeerId peer : {kProducer, kWorker, kOther}) greet(peer);
    settle();
    received(kProducer);
    enqueue_large();
    settle();
    job = only<Enqueued>(kProducer).results.at(0).id;
    for (const PeerId peer : {kProducer, kWorker, kOther}) received(peer);
    send(kWorker, worker_of("q", credit));
  }
  void enqueue_large() {
    Enqueue request = enqueue_one("q", body);
    request.jobs[0].type = "film";
    request.jobs[0].headers = headers;
    send(kProducer, request);
  }
  std::vector<Delivery> delivered(PeerId peer) {
    std::vector<Delivery> jobs;
    for (const ReplyMessage& message : received(peer)) {
      if (const auto* deliver = std::get_if<Deliver>(&message.body))
        jobs.insert(jobs.end(), deliver->jobs.begin(), deliver->jobs.end());
    }
    return jobs;
  }
  [[nodiscard]] QueueCounters counters() const { return *engine->queue("q", clock->read())->counters; }
  void turns(int times) {
    for (int i = 0; i < times; ++i) REQUIRE(turn().ok());
  }

  JobId job;
  const std::string body = large_body(1'000'000);
  const std::string headers = pack_headers({{"trace", "7f"}});
};

}  // namespace

TEST_CASE("a large job is handed over a little in each turn, and others are answered meanwhile") {
  LargeJobWorld world;
  world.turns(1);
  CHECK(world.only<Registered>(kWorker).session.value != 0);
  for (int i = 0; i < 8; ++i) {
    world.send(kProducer, enqueue_one("other", "small"));
    world.turns(1);
    CHECK(world.only<Enqueued>(kProducer).results.at(0).outcome == EnqueueOutcome::created);
    CHECK(world.transport.last_wait() == DurationMs{0});
    CHECK(world.delivered(kWorker).empty());
  }
  world.turns(2);
  const std::vector<Delivery> jobs = world.delivered(kWorker);
  REQUIRE(jobs.size() == 1);
  CHECK(jobs[0].body == world.body);
  CHECK(jobs[0].type == "film");
  CHECK(jobs[0].queue == "q");
  CHECK(jobs[0].headers == world.headers);
  CHECK(jobs[0].attempt == 1);
  CHECK(jobs[0].enqueued_at.ms != 0);
}

TEST_CASE("a turn that takes in much hands over as much") {
  LargeJobWorld world;
  world.send(kProducer, enqueue_one("other", large_body(2'000'000)));
  world.turns(1);
  CHECK(world.delivered(kWorker).size() == 1);
}

TEST_CASE("a lease counts from the sending of a large job, not from when it began to be copied") {
  LargeJobWorld world;
  world.turns(5);
  world.advance(DurationMs{10'000});
  world.turns(6);
  const std::vector<Delivery> jobs = world.delivered(kWorker);
  REQUIRE(jobs.size() == 1);
  CHECK(jobs[0].lease_ms == QueueSettings{}.lease_ms - 10'000);
}

TEST_CASE("what else goes to the worker stays behind the large job that waits for it") {
  LargeJobWorld world;
  world.turns(2);
  world.received(kWorker);
  const std::uint64_t asked = world.send(kWorker, Admin{"ping", {}});
  world.turns(1);
  world.send(kProducer, enqueue_one("q", "small"));
  world.turns(1);
  CHECK(world.counters().leased == 2);
  CHECK(world.received(kWorker).empty());
  world.settle();
  const auto messages = world.received(kWorker);
  REQUIRE(messages.size() == 3);
  CHECK(std::get<Deliver>(messages[0].body).jobs.at(0).body == world.body);
  CHECK(messages[1].request_id == asked);
  CHECK(std::get<Deliver>(messages[2].body).jobs.at(0).body == "small");
}

TEST_CASE("while a large job is on its way others stay where they are, and small ones go at once") {
  LargeJobWorld world;
  world.enqueue_large();
  world.send(kProducer, enqueue_one("small", "s"));
  world.send(kOther, worker_of("small", 1));
  world.turns(1);
  CHECK(world.delivered(kOther).size() == 1);  // handed out in the same turn as the first large one
  world.send(kProducer, enqueue_one("small", "s"));
  world.send(kProducer, enqueue_one("q", large_body(70'000)));
  world.turns(1);
  CHECK(world.delivered(kOther).empty());  // it has no more room
  CHECK(world.counters().leased == 2);
  CHECK(world.counters().ready == 1);
  world.settle();
  CHECK(world.delivered(kWorker).size() == 3);
}

TEST_CASE(
    "a worker that goes while a large job is copied for it gets nothing, and another one gets the job") {
  LargeJobWorld world;
  world.turns(3);
  world.transport.break_sends_to(kWorker);
  world.transport.lose(kWorker);
  world.settle();
  for (int i = 0; i < 3;
       ++i) {  // the grace of those who may come back, and the pause before the next attempt
    world.advance(DurationMs{60'000});
    world.settle();
  }
  world.send(kOther, worker_of("q", 1));
  world.settle();
  const std::vector<Delivery> jobs = world.delivered(kOther);
  REQUIRE(jobs.size() == 1);
  CHECK(jobs[0].body == world.body);
  CHECK(world.delivered(kWorker).empty());
}

TEST_CASE("a worker that says goodbye while a large job is copied for it is not sent it") {
  LargeJobWorld world;
  world.turns(3);
  world.send(kWorker, Goodbye{});
  world.settle();
  CHECK(world.delivered(kWorker).empty());
  world.send(kOther, worker_of("q", 1));
  world.settle();
  const std::vector<Delivery> jobs = world.delivered(kOther);
  REQUIRE(jobs.size() == 1);
  CHECK(jobs[0].attempt == 1);
}

TEST_CASE("a large job whose record is damaged half way is put among the dead, and the next one goes on") {
  LargeJobWorld world;
  world.turns(3);
  world.store.lose_record(world.job);
  world.enqueue_large();
  world.settle();
  const std::vector<Delivery> jobs = world.delivered(kWorker);
  REQUIRE(jobs.size() == 1);
  CHECK(jobs[0].lease.job != world.job);
  CHECK(jobs[0].body == world.body);
  CHECK(world.counters().dead == 1);
}
