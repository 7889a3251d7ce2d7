// The broker for the tests of users, by its own promises: what advance() has done when it returns, and what each fault does to
// the real Client and Worker.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <atomic>
#include <latch>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "jobq/jobq.hpp"
#include "jobq/testing.hpp"

using namespace std::chrono_literals;
using jobq::Client;
using jobq::Code;
using jobq::Context;
using jobq::Outcome;
using jobq::Worker;
using jobq::testing::Broker;

namespace {

// A broker, a client, a worker that is not yet started, and what its handlers did.
struct World {
  Broker broker;
  Client client{broker.endpoint(), {.runtime = broker.runtime()}};
  Worker worker{broker.endpoint(), options(1)};

  jobq::WorkerOptions options(std::size_t concurrency) {
    jobq::WorkerOptions options;
    options.queues = {"q"};
    options.concurrency = concurrency;
    options.handle_signals = false;
    options.runtime = broker.runtime();
    options.log = [](std::string_view) {};
    return options;
  }
  auto start(std::function<void(Context&)> handler) {
    worker.on_any(std::move(handler));
    return broker.start(worker);
  }
};

}  // namespace

TEST_CASE("time stands still until it is moved, and what became due on the way is done") {
  World world;
  std::atomic<int> ran = 0;
  auto running = world.start([&](Context&) { ++ran; });
  const auto begin = world.broker.now();
  world.client.enqueue("q", "now");
  world.client.enqueue("q", "later", {.delay = 1h});
  world.broker.settle();
  CHECK(ran == 1);
  CHECK(world.broker.queue("q").scheduled == 1);
  CHECK(world.broker.now() == begin);
  world.broker.advance(59min + 59s + 999ms);
  CHECK(ran == 1);
  world.broker.advance(1ms);
  CHECK(ran == 2);
  CHECK(world.broker.now() == begin + 1h);
  CHECK(world.broker.queue("q").acked_total == 2);
}

TEST_CASE("retries pass in a moment, each after its own backoff") {
  World world;
  world.broker.set("q", "max_attempts", 10);
  std::vector<std::chrono::milliseconds> at;
  const auto begin = world.broker.now();
  auto running = world.start([&](Context& job) {
    at.push_back(std::chrono::duration_cast<std::chrono::milliseconds>(world.broker.now() - begin));
    throw std::runtime_error("refused " + std::to_string(job.attempt()));
  });
  const auto made = world.client.enqueue("q", "x");
  world.broker.advance(1h);
  REQUIRE(at.size() == 10);
  for (std::size_t i = 1; i < at.size(); ++i) CHECK(at[i] - at[i - 1] >= 1s);
  const auto dead = world.broker.dead("q");
  REQUIRE(dead.size() == 1);
  CHECK(dead[0].id == made.id);
  CHECK(dead[0].body == "x");
  REQUIRE(dead[0].errors.size() == 10);
  CHECK(dead[0].errors[9] == "refused 10");
}

TEST_CASE("the same test gives the same times") {
  const auto retry_times = [] {
    World world;
    std::vector<std::int64_t> at;
    auto running = world.start([&](Context&) {
      at.push_back(world.broker.now().time_since_epoch().count());
      throw std::runtime_error("no");
    });
    world.client.enqueue("q", "x", {.max_attempts = 8});
    world.broker.advance(1h);
    return at;
  };
  const auto first = retry_times();
  CHECK(first.size() == 8);
  CHECK(first == retry_times());
}

TEST_CASE("a handler takes virtual time, and its lease is extended while it does") {
  World world;
  std::atomic<bool> slept = false;
  auto running = world.start([&](Context& job) {
    const auto begin = world.broker.steady_now();
    slept = world.broker.work_for(job, 10min);
    CHECK(world.broker.steady_now() - begin == 10min);
    CHECK(job.lease_until() > world.broker.steady_now());
  });
  const auto made = world.client.enqueue("q", "x");
  world.broker.advance(9min);
  CHECK(world.broker.job(made.id).state == "leased");
  world.broker.advance(1min);
  CHECK(slept);
  CHECK(world.broker.job(made.id).exit == "acked");
}

TEST_CASE("max_run_time stops a handler at its virtual deadline") {
  World world;
  std::atomic<jobq::StopReason> reason = jobq::StopReason::none;
  auto running = world.start([&](Context& job) {
    CHECK(job.deadline() == world.broker.steady_now() + 30s);
    CHECK_FALSE(world.broker.work_for(job, 1h));
    reason = job.stop_reason();
    throw std::runtime_error("stopped");
  });
  const auto made = world.client.enqueue("q", "x", {.max_attempts = 1, .max_run_time = 30s});
  world.broker.advance(2min);
  CHECK(reason == jobq::StopReason::max_run_time);
  CHECK(world.broker.job(made.id).state == "dead");
}

TEST_CASE("a handler that hangs in real time is named instead of waited for") {
  Broker broker({.patience = 100ms});
  std::latch go(1);
  Worker worker{
      broker.endpoint(),
      {.queues = {"q"}, .handle_signals = false, .runtime = broker.runtime(), .log = [](std::string_view) {
       }}};
  worker.on_any([&](Context&) { go.wait(); });
  Client client{broker.endpoint(), {.runtime = broker.runtime()}};
  auto running = broker.start(worker);
  client.enqueue("q", "x");
  CHECK(broker.queue("q").leased == 1);  // looking does not wait for handlers
  try {
    broker.advance(1s);
    FAIL("it did not throw");
  } catch (const jobq::Error& error) {
    CHECK(error.code() == Code::timed_out);
    CHECK(std::string(error.what()).find("work_for") != std::string::npos);
  }
  go.count_down();
  broker.settle();
  CHECK(broker.queue("q").acked_total == 1);
}

TEST_CASE("a call that nobody answers ends at its deadline, at once") {
  World world;
  world.broker.unreachable(true);
  const auto begin = world.broker.now();
  const auto real = std::chrono::steady_clock::now();
  const auto result = world.client.try_enqueue("q", "x", {.timeout = 5s});
  CHECK(result.outcome() == Outcome::refused);
  CHECK(result.code() == Code::unreachable);
  CHECK(world.broker.now() - begin == 5s);
  CHECK(std::chrono::steady_clock::now() - real < 4s);
  world.broker.unreachable(false);
  CHECK(world.client.try_enqueue("q", "x").ok());
}

TEST_CASE("a handler may enqueue, also while the broker is away") {
  World world;
  std::atomic<Code> code = Code::ok;
  auto running = world.start([&](Context& job) {
    if (job.body() != "outer") return;
    world.broker.work_for(job, 1s);
    code = world.client.try_enqueue("q", "inner", {.timeout = 3s}).code();
  });
  world.client.enqueue("q", "outer");
  world.broker.settle();
  world.broker.unreachable(true);
  world.broker.advance(5s);
  CHECK(code == Code::unreachable);
  world.broker.unreachable(false);
  world.broker.advance(5s);
  CHECK(world.broker.queue("q").acked_total == 1);
}

TEST_CASE("refused enqueues say so, and the rest goes on") {
  World world;
  const auto made = world.client.enqueue("q", "before");
  world.broker.refuse_enqueues(true);
  const auto result = world.client.try_enqueue("q", "x");
  CHECK(result.outcome() == Outcome::refused);
  CHECK(result.code() == Code::disk_full);
  CHECK(result.retryable());
  CHECK(result.retry_after() > 0ms);
  auto running = world.start([](Context&) {});
  world.broker.settle();
  CHECK(world.broker.job(made.id).exit == "acked");
  world.broker.refuse_enqueues(false);
  CHECK(world.client.try_enqueue("q", "x").ok());
}

TEST_CASE("delayed messages make a round trip take twice as long") {
  World world;
  world.client.enqueue("q", "greeted");
  world.broker.delay_messages(400ms);
  const auto begin = world.broker.now();
  CHECK(world.client.try_enqueue("q", "x").ok());
  CHECK(world.broker.now() - begin == 800ms);
  world.broker.delay_messages(10s);
  const auto late = world.client.try_enqueue("q", "x", {.timeout = 5s});
  CHECK(late.outcome() == Outcome::unknown);
  CHECK(late.code() == Code::timed_out);
}

TEST_CASE("leases that lapse give the job to the next, and the first holder is told") {
  World world;
  Worker second{world.broker.endpoint(), world.options(1)};
  std::mutex mutex;
  std::vector<std::string> log;
  const auto handler = [&](const char* who) {
    return [&, who](Context& job) {
      const bool slept = world.broker.work_for(job, 45s);
      const std::lock_guard lock(mutex);
      log.push_back(std::string(who) + (slept ? " done" : " lost, attempt ") +
                    (slept ? "" : std::to_string(job.attempt())));
      if (!slept) CHECK(job.stop_reason() == jobq::StopReason::lost_lease);
    };
  };
  auto running = world.start(handler("first"));
  const auto made = world.client.enqueue("q", "x");
  world.broker.settle();
  world.broker.lapse_leases(true);
  world.broker.advance(31s);
  {
    const std::lock_guard lock(mutex);
    CHECK(log == std::vector<std::string>{"first lost, attempt 1"});
  }
  world.broker.lapse_leases(false);
  world.broker.advance(5min);
  CHECK(world.broker.job(made.id).exit == "acked");
  const std::lock_guard lock(mutex);
  CHECK(log == std::vector<std::string>{"first lost, attempt 1", "first done"});
}

TEST_CASE("a worker that is cut off for longer than the grace has crashed") {
  World world;
  std::atomic<int> lost = 0, done = 0;
  auto running = world.start([&](Context& job) { world.broker.work_for(job, 2min) ? ++done : ++lost; });
  const auto made = world.client.enqueue("q", "x");
  world.broker.settle();
  world.broker.unreachable(true);
  world.broker.advance(45s);
  CHECK(lost == 1);  // nothing proved the lease any more
  world.broker.unreachable(false);
  world.broker.advance(10min);
  CHECK(done == 1);
  CHECK(world.broker.job(made.id).exit == "acked");
}

TEST_CASE("a broker that is killed keeps what it confirmed, and a short absence is a pause") {
  World world;
  std::atomic<int> ran = 0;
  auto running = world.start([&](Context& job) {
    ++ran;
    world.broker.work_for(job, 20s);
  });
  const auto made = world.client.enqueue("q", "held");
  const auto waiting = world.client.enqueue("q", "waits");
  world.broker.advance(1s);
  world.broker.crash();
  CHECK_FALSE(world.broker.running());
  CHECK_THROWS_AS((void)world.broker.queue("q"), jobq::Error);
  world.broker.advance(3s);
  world.broker.restart();
  world.broker.advance(17s);
  CHECK(world.broker.job(made.id).exit == "acked");
  CHECK(world.broker.job(waiting.id).state == "leased");
  world.broker.advance(1min);
  CHECK(ran == 2);  // each ran once
  CHECK(world.broker.queue("q").acked_total == 2);
}

TEST_CASE("killed between commit and answer: the resend makes no second job") {
  World world;
  world.client.enqueue("q", "greeted");
  world.broker.crash_after_next_commit();
  auto answer = world.client.enqueue_async("q", "once");
  world.broker.settle();
  CHECK_FALSE(world.broker.running());
  world.broker.restart();
  world.broker.advance(3s);
  const auto result = answer.get();
  REQUIRE(result.ok());
  CHECK_FALSE(result->duplicate);
  CHECK(world.broker.queue("q").enqueued_total == 2);
}

TEST_CASE("killed for good between commit and answer: the outcome is unknown, and the job is there") {
  World world;
  world.client.enqueue("q", "greeted");
  world.broker.crash_after_next_commit();
  const auto result = world.client.try_enqueue("q", "perhaps", {.unique_key = "k"});
  CHECK(result.outcome() == Outcome::unknown);
  world.broker.restart();
  CHECK(world.client.enqueue("q", "perhaps", {.unique_key = "k"}).duplicate);
}

TEST_CASE("a drain waits for handlers in virtual time and says what became of them") {
  World world;
  std::atomic<bool> stopped = false;
  auto running = world.start([&](Context& job) {
    stopped = !world.broker.work_for(job, 1h);
    if (stopped) job.release();
  });
  const auto made = world.client.enqueue("q", "x");
  world.broker.settle();
  const auto begin = world.broker.now();
  const jobq::DrainReport report = running.stop();
  CHECK(stopped);
  CHECK(report.abandoned == 0);
  CHECK(world.broker.now() - begin <= 25s);
  CHECK(world.broker.job(made.id).state == "ready");
  CHECK(world.broker.job(made.id).attempt == 1);
}

TEST_CASE("a program that runs its workers itself is waited for") {
  World world;
  Worker other{world.broker.endpoint(), world.options(1)};
  std::atomic<int> ran = 0;
  for (Worker* worker : {&world.worker, &other}) worker->on_any([&](Context&) { ++ran; });
  std::thread first([&] { world.worker.run(); }), second([&] { other.run(); });
  world.broker.wait_for_workers(2);
  world.client.enqueue("q", "x");
  world.broker.settle();
  CHECK(ran == 1);
  world.worker.stop();
  other.stop();
  first.join();
  second.join();
  Broker impatient({.patience = 10ms});
  CHECK_THROWS_AS(impatient.wait_for_workers(1), jobq::Error);
}

TEST_CASE("a worker that is refused says why") {
  Broker broker;
  Worker worker{
      broker.endpoint(),
      {.queues = {"q"}, .handle_signals = false, .runtime = broker.runtime(), .log = [](std::string_view) {
       }}};
  CHECK_THROWS_AS(broker.start(worker), jobq::Error);  // no handler
}

TEST_CASE("settings, cancel and redrive reach the broker") {
  World world;
  world.broker.set("q", "paused", 1);
  const auto made = world.client.enqueue("q", "x", {.max_attempts = 1});
  const auto other = world.client.enqueue("q", "y");
  std::atomic<bool> fail = true;
  auto running = world.start([&](Context&) {
    if (fail) throw std::runtime_error("550 no such mailbox");
  });
  world.broker.advance(1h);
  CHECK(world.broker.queue("q").ready == 2);
  CHECK(world.broker.queue("q").paused);
  world.broker.cancel(other.id);
  CHECK(world.broker.job(other.id).exit == "cancelled");
  world.broker.set("q", "paused", 0);
  world.broker.settle();
  CHECK(world.broker.job(made.id).state == "dead");
  CHECK(world.broker.job(made.id).errors == std::vector<std::string>{"550 no such mailbox"});
  fail = false;
  world.broker.redrive("q");
  CHECK(world.broker.job(made.id).exit == "acked");
  CHECK(world.broker.queue("nowhere").enqueued_total == 0);
}
