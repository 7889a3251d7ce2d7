// The working side against a real broker: outcomes, leases over restarts, stops, drains.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <latch>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "jobq/jobq.hpp"
#include "libjobq/admin.hpp"
#include "tests/client/e2e/broker_process.hpp"
#include "tests/client/e2e/running_worker.hpp"

using namespace jobq;
using namespace std::chrono_literals;
using test::BrokerProcess;
using test::eventually;
using test::patient;
using test::queue_row;
using test::RunningWorker;

namespace {

struct SendReceipt {
  std::string to;
  std::uint64_t order = 0;
  MSGPACK_DEFINE_MAP(to, order)
};

struct OtherShape {
  std::vector<std::uint64_t> numbers;
  MSGPACK_DEFINE(numbers)
  static constexpr const char* kJobType = "SendReceipt";
};

struct Fixture {
  BrokerProcess broker;
  std::optional<Client> producer;

  Fixture() {
    broker.start();
    producer.emplace(broker.endpoint(), ClientOptions{.timeout = patient(30s)});
  }

  bool all_acked(std::uint64_t count) {
    return eventually([&] { return queue_row(*producer, "q").acked_total == count; });
  }

  std::string job_document(const std::string& id) {
    const auto document = admin(*producer, "job.show", {{"id", id}}, patient(10s));
    REQUIRE_MESSAGE(document.ok(), document.status().text());
    return *document;
  }
};

// Until the handler is asked to stop, or the time is up (false).
bool wait_for_stop(Context& job, std::chrono::milliseconds longest) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait_for(lock, job.stop_token(), longest, [] { return false; });
  return job.stop_requested();
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a typed job arrives whole, and returning acks it") {
  std::promise<void> seen;
  RunningWorker worker{broker.endpoint(), {.queues = {"q"}, .concurrency = 2}};
  std::string id;
  worker->on<SendReceipt>([&](const SendReceipt& receipt, Context& job) {
    CHECK(receipt.to == "a@example.org");
    CHECK(receipt.order == 42);
    CHECK(job.queue() == "q");
    CHECK(job.type() == "SendReceipt");
    CHECK(job.attempt() == 1);
    CHECK(job.max_attempts() == 3);
    CHECK(job.priority() == 7);
    CHECK(job.header("trace") == "7f3a");
    CHECK_FALSE(job.header("none").has_value());
    CHECK(job.lease_until() > std::chrono::steady_clock::now());
    CHECK(job.deadline() < std::chrono::steady_clock::now() + 3600s);
    id = job.id();
    seen.set_value();
  });
  worker.start();
  const Enqueued made = producer->enqueue(
      "q", SendReceipt{"a@example.org", 42},
      {.priority = 7, .max_attempts = 3, .max_run_time = 3600s, .headers = {{"trace", "7f3a"}}});
  seen.get_future().wait();
  CHECK(all_acked(1));
  CHECK(id == made.id);
  const DrainReport report = worker.finish();
  CHECK(report.handed_back == 0);
  CHECK(report.unanswered == 0);
}

TEST_CASE_FIXTURE(Fixture, "thousands of jobs on several threads, each once") {
  constexpr std::size_t kJobs = 3000;
  std::mutex mutex;
  std::multiset<std::string> seen;
  RunningWorker worker{broker.endpoint(), {.queues = {"q"}, .concurrency = 4, .prefetch = 16}};
  worker->on_any([&](Context& job) {
    const std::lock_guard lock(mutex);
    seen.emplace(job.body());
  });
  worker.start();
  std::vector<NewJob> jobs;
  for (std::size_t i = 0; i < kJobs; ++i) jobs.emplace_back(std::to_string(i));
  for (const auto& result : producer->enqueue_many("q", jobs, {.timeout = patient(30s)}))
    REQUIRE(result.ok());
  CHECK(all_acked(kJobs));
  worker.finish();
  CHECK(seen.size() == kJobs);
  CHECK(std::set<std::string>(seen.begin(), seen.end()).size() == kJobs);
}

TEST_CASE_FIXTURE(Fixture, "a throw is a failed attempt with its text; out of attempts the job is dead") {
  test::set_queue(*producer, "q", "backoff_min_ms", 1);
  test::set_queue(*producer, "q", "backoff_max_ms", 2);
  std::atomic<std::uint32_t> attempts{0};
  RunningWorker worker{broker.endpoint(), {.queues = {"q"}}};
  worker->on_any([&](Context& job) {
    attempts = job.attempt();
    throw std::runtime_error("smtp said 451");
  });
  worker.start();
  const Enqueued made = producer->enqueue("q", "x", {.max_attempts = 2});
  CHECK(eventually([&] { return queue_row(*producer, "q").dead == 1; }));
  CHECK(attempts == 2);
  CHECK(job_document(made.id).find("smtp said 451") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "snooze and release count nothing, reject is the end, the first word stands") {
  std::atomic<int> runs{0};
  RunningWorker worker{broker.endpoint(), {.queues = {"q"}}};
  worker->on("snoozed", [&](Context& job) {
    CHECK(job.attempt() == 1);
    if (++runs < 3) {
      job.snooze(10ms);
      job.reject("too late: it is snoozed");
    }
  });
  worker->on("rejected", [](Context& job) {
    job.reject("no such customer");
    throw std::runtime_error("not this");
  });
  worker->on("failed", [](Context& job) { job.fail("soon again", 1h); });
  worker.start();
  producer->enqueue("q", "x", {.type = "snoozed"});
  CHECK(all_acked(1));
  CHECK(runs == 3);
  const Enqueued rejected = producer->enqueue("q", "x", {.type = "rejected"});
  CHECK(eventually([&] { return queue_row(*producer, "q").dead == 1; }));
  const std::string document = job_document(rejected.id);
  CHECK(document.find("no such customer") != std::string::npos);
  CHECK(document.find("not this") == std::string::npos);
  producer->enqueue("q", "x", {.type = "failed"});
  CHECK(eventually([&] { return queue_row(*producer, "q").scheduled == 1; }));
}

TEST_CASE_FIXTURE(Fixture, "a released job goes to another worker, its attempts unspent") {
  std::atomic<bool> released{false};
  RunningWorker first{broker.endpoint(), {.queues = {"q"}}};
  first->on_any([&](Context& job) {
    released = true;
    job.release();
  });
  first.start();
  producer->enqueue("q", "x");
  REQUIRE(eventually([&] { return released.load(); }));
  std::atomic<std::uint32_t> attempt{0};
  RunningWorker second{broker.endpoint(), {.queues = {"q"}}};
  second->on_any([&](Context& job) { attempt = job.attempt(); });
  second.start();
  CHECK(all_acked(1));
  CHECK(attempt == 1);
}

TEST_CASE_FIXTURE(Fixture, "a body of another shape is rejected with the reason") {
  RunningWorker worker{broker.endpoint(), {.queues = {"q"}}};
  worker->on<SendReceipt>([](const SendReceipt&, Context&) { FAIL("it cannot be decoded"); });
  worker.start();
  const Enqueued made = producer->enqueue("q", OtherShape{{1, 2, 3}});
  CHECK(eventually([&] { return queue_row(*producer, "q").dead == 1; }));
  CHECK(job_document(made.id).find("does not decode as SendReceipt") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "types without a handler wait for another worker") {
  RunningWorker worker{broker.endpoint(), {.queues = {"q"}}};
  worker->on("known", [](Context&) {});
  worker.start();
  producer->enqueue("q", "x", {.type = "unknown"});
  producer->enqueue("q", "x", {.type = "known"});
  CHECK(all_acked(1));
  CHECK(queue_row(*producer, "q").ready == 1);
}

TEST_CASE_FIXTURE(Fixture,
                  "a job that runs while the broker is killed and restarted is run once and counts once") {
  std::promise<void> running;
  std::promise<void> go_on;
  std::shared_future<void> may_end = go_on.get_future().share();
  std::atomic<int> runs{0};
  RunningWorker worker{broker.endpoint(), {.queues = {"q"}, .concurrency = 2}};
  worker->on_any([&](Context&) {
    if (++runs == 1) running.set_value();
    may_end.wait();
  });
  worker.start();
  producer->enqueue("q", "x");
  running.get_future().wait();
  SUBCASE("it ends while the broker is away") {
    broker.kill();
    REQUIRE(eventually([&] { return !worker->registered(); }));
    go_on.set_value();
    broker.start();
  }
  SUBCASE("it ends after the broker is back") {
    broker.kill();
    broker.start();
    REQUIRE(eventually([&] { return queue_row(*producer, "q").leased == 1 && worker->registered(); }));
    go_on.set_value();
  }
  SUBCASE("the broker is frozen for longer than connections live, not killed") {
    broker.freeze();
    REQUIRE(eventually([&] { return !worker->registered(); }));
    broker.thaw();
    REQUIRE(eventually([&] { return worker->registered(); }));
    go_on.set_value();
  }
  CHECK(all_acked(1));
  CHECK(runs == 1);
  CHECK(worker.finish().unanswered == 0);
  CHECK(queue_row(*producer, "q").failed_total == 0);
}

TEST_CASE_FIXTURE(Fixture, "leases are extended while a handler runs, far beyond one lease") {
  test::set_queue(*producer, "q", "lease_ms", 1000);
  std::atomic<int> runs{0};
  std::atomic<bool> stopped{false};
  RunningWorker worker{broker.endpoint(), {.queues = {"q"}, .concurrency = 2}};
  worker->on_any([&](Context& job) {
    ++runs;
    stopped = wait_for_stop(job, 3500ms);
  });
  worker.start();
  producer->enqueue("q", "x");
  CHECK(all_acked(1));
  CHECK(runs == 1);
  CHECK_FALSE(stopped);
}

TEST_CASE_FIXTURE(Fixture, "without extension the lease lapses, the handler is told, another attempt runs") {
  test::set_queue(*producer, "q", "lease_ms", 1000);
  test::set_queue(*producer, "q", "backoff_min_ms", 1);
  test::set_queue(*producer, "q", "backoff_max_ms", 2);
  std::atomic<int> runs{0};
  std::atomic<StopReason> reason{StopReason::none};
  RunningWorker worker{broker.endpoint(), {.queues = {"q"}, .concurrency = 2, .extend_leases = false}};
  worker->on_any([&](Context& job) {
    if (++runs > 1) return;
    CHECK(wait_for_stop(job, patient(20s)));
    reason = job.stop_reason();
    CHECK(eventually([&] { return runs > 1; }));
  });
  worker.start();
  producer->enqueue("q", "x");
  CHECK(all_acked(1));
  CHECK(runs == 2);
  CHECK(reason == StopReason::lost_lease);
}

TEST_CASE_FIXTURE(Fixture, "max_run_time and a cancel trigger the stop token") {
  std::atomic<StopReason> reason{StopReason::none};
  std::atomic<bool> running{false};
  RunningWorker worker{broker.endpoint(), {.queues = {"q"}}};
  worker->on_any([&](Context& job) {
    running = true;
    CHECK(wait_for_stop(job, patient(30s)));
    reason = job.stop_reason();
    throw std::runtime_error("stopped");
  });
  worker.start();
  SUBCASE("max_run_time") {
    producer->enqueue("q", "x", {.max_attempts = 1, .max_run_time = 300ms});
    CHECK(eventually([&] { return queue_row(*producer, "q").dead == 1; }));
    CHECK(reason == StopReason::max_run_time);
  }
  SUBCASE("cancel") {
    const Enqueued made = producer->enqueue("q", "x");
    REQUIRE(eventually([&] { return running.load(); }));
    CHECK(admin(*producer, "job.cancel", {{"id", made.id}}, patient(10s)).ok());
    CHECK(eventually([&] { return queue_row(*producer, "q").cancelled_total == 1; }));
    CHECK(reason == StopReason::cancel);
  }
}

TEST_CASE_FIXTURE(Fixture, "a drain lets what runs finish, and takes nothing new") {
  std::promise<void> running;
  std::promise<void> go_on;
  std::shared_future<void> may_end = go_on.get_future().share();
  RunningWorker worker{broker.endpoint(), {.queues = {"q"}, .concurrency = 1, .prefetch = 3}};
  worker->on_any([&, first = true](Context&) mutable {
    if (std::exchange(first, false)) running.set_value();
    may_end.wait();
  });
  worker.start();
  const std::vector<NewJob> jobs = {"1", "2", "3", "4", "5", "6"};
  for (const auto& result : producer->enqueue_many("q", jobs)) REQUIRE(result.ok());
  running.get_future().wait();
  REQUIRE(eventually([&] { return queue_row(*producer, "q").leased == 4; }));
  worker->stop();
  // What had not begun is back at once, the other jobs stay where they are.
  CHECK(eventually([&] { return queue_row(*producer, "q").ready == 5; }));
  go_on.set_value();
  const DrainReport report = worker.join();
  CHECK(report.handed_back == 3);
  CHECK(report.abandoned == 0);
  CHECK(report.unanswered == 0);
  const auto row = queue_row(*producer, "q");
  CHECK(row.acked_total == 1);
  CHECK(row.ready == 5);
  CHECK(row.failed_total == 0);
}

TEST_CASE_FIXTURE(Fixture,
                  "at the end of a drain handlers are stopped and jobs handed back, attempts unspent") {
  std::atomic<bool> running{false};
  StopReason reason = StopReason::none;
  RunningWorker worker{broker.endpoint(), {.queues = {"q"}, .drain_timeout = 1500ms, .stop_grace = 1000ms}};
  worker->on_any([&](Context& job) {
    running = true;
    wait_for_stop(job, patient(60s));
    reason = job.stop_reason();
    throw std::runtime_error("interrupted");
  });
  worker.start();
  producer->enqueue("q", "x");
  REQUIRE(eventually([&] { return running.load(); }));
  const DrainReport report = worker.finish();
  CHECK(report.abandoned == 0);
  CHECK(report.unanswered == 0);
  CHECK(reason == StopReason::drain);
  const auto row = queue_row(*producer, "q");
  CHECK(row.ready == 1);
  CHECK(row.failed_total == 0);
}

TEST_CASE_FIXTURE(Fixture, "a handler that ignores its stop token holds nothing up") {
  auto running = std::make_shared<std::atomic<bool>>(false);
  auto release = std::make_shared<std::latch>(1);
  auto ended = std::make_shared<std::latch>(1);
  const auto begin = std::chrono::steady_clock::now();
  {
    RunningWorker worker{broker.endpoint(),
                         {.queues = {"q"}, .drain_timeout = patient(1000ms), .stop_grace = 100ms}};
    worker->on_any([=](Context&) {
      *running = true;
      release->wait();
      ended->count_down();
    });
    worker.start();
    producer->enqueue("q", "x");
    REQUIRE(eventually([&] { return running->load(); }));
    const DrainReport report = worker.finish();
    CHECK(report.abandoned == 1);
    CHECK(report.handed_back == 1);
    CHECK(report.unanswered == 0);
  }
  CHECK(std::chrono::steady_clock::now() - begin < patient(5s));
  CHECK(queue_row(*producer, "q").ready == 1);
  release->count_down();
  ended->wait();
}

TEST_CASE_FIXTURE(Fixture, "SIGTERM drains, and the old handler is back afterwards") {
  static std::atomic<int> caught{0};
  std::signal(SIGTERM, [](int) { ++caught; });
  std::atomic<bool> ran{false};
  Worker worker{broker.endpoint(), {.queues = {"q"}, .log = [](std::string_view) {}}};
  worker.on_any([&](Context&) { ran = true; });
  producer->enqueue("q", "x");
  std::thread killer([&] {
    CHECK(eventually([&] { return ran.load(); }));
    ::kill(::getpid(), SIGTERM);
  });
  const DrainReport report = worker.run();
  killer.join();
  CHECK(report.unanswered == 0);
  CHECK(caught == 0);
  std::raise(SIGTERM);
  CHECK(caught == 1);
  std::signal(SIGTERM, SIG_DFL);
}

TEST_CASE("a worker that was stopped before it began, and one without handlers or with wrong options") {
  Worker stopped{"ipc:///nonexistent/jobq-test", {.queues = {"q"}, .log = [](std::string_view) {}}};
  stopped.on_any([](Context&) {});
  stopped.stop();
  CHECK(stopped.run().handed_back == 0);
  CHECK_THROWS_AS(stopped.on("late", [](Context&) {}), Error);

  Worker idle{"ipc:///nonexistent/jobq-test", {.queues = {"q"}}};
  CHECK_THROWS_AS(idle.run(), Error);
  CHECK_THROWS_AS(Worker("ipc:///x", {}), Error);
  CHECK_THROWS_AS(Worker("ipc:///x", {.queues = {"no/name"}}), Error);
  CHECK_THROWS_AS(Worker("ipc:///x", {.queues = {{"q", 101}}}), Error);
  CHECK_THROWS_AS(Worker("ipc:///x", {.queues = {"q"}, .concurrency = 0}), Error);
  CHECK_THROWS_AS(Worker("http://x", {.queues = {"q"}}), Error);
}
