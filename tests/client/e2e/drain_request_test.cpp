// An operator asks a worker to leave: the library finishes what it has, takes nothing more, and run() returns.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <atomic>
#include <latch>

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

TEST_CASE("a worker that is drained by the broker finishes its job, leaves the others, and returns") {
  BrokerProcess broker;
  broker.start();
  Client client(broker.endpoint(), {.timeout = patient(30s)});
  std::latch begun(1);
  std::atomic<bool> go_on{false};
  RunningWorker worker(broker.endpoint(), {.queues = {"q"}, .concurrency = 1, .drain_timeout = patient(30s)});
  worker->on_any([&](Context&) {
    if (!go_on.load()) begun.count_down();
    CHECK(eventually([&] { return go_on.load(); }));
  });
  worker.start();
  client.enqueue("q", Bytes{"one"});
  begun.wait();
  client.enqueue("q", Bytes{"two"});

  // The first session of this store.
  const auto drained = admin(client, "worker.drain", {{"session", std::int64_t{1}}}, patient(10s));
  REQUIRE_MESSAGE(drained.ok(), drained.status().text());
  CHECK(drained->find("told") != std::string::npos);
  CHECK(queue_row(client, "q").leased == 1);
  go_on = true;
  const DrainReport report = worker.join();
  CHECK(report.abandoned == 0);
  CHECK(report.unanswered == 0);
  CHECK(queue_row(client, "q").acked_total == 1);
  CHECK(queue_row(client, "q").ready == 1);
}
