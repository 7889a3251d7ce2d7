// The code of docs/worker_guide.md and README.md, piece by piece, against a real broker.
#include "worker_guide.pieces.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "jobq/jobq.hpp"
#include "readme.pieces.hpp"
#include "tests/client/e2e/broker_process.hpp"
#include "tests/client/e2e/running_worker.hpp"
#include "tests/docs/document.hpp"

namespace {
#include "readme/job.inc"
}  // namespace

using namespace std::chrono_literals;
using jobq::test::Document;
using jobq::test::eventually;
using jobq::test::patient;
using jobq::test::queue_row;
using jobq::test::RunningWorker;

namespace {

struct WorkerGuide : Document {
  jobq::Client client{doc_endpoint, {.timeout = patient(20s)}};

  bool acked(std::uint64_t count, const std::string& queue = "receipts") {
    return eventually([&] { return queue_row(client, queue).acked_total == count; });
  }
};

std::atomic<std::uint64_t> counted{0};
void count(std::uint64_t number) { counted += number; }

void ask_this_process_to_stop() { ::kill(::getpid(), SIGTERM); }

}  // namespace

TEST_CASE_FIXTURE(Document, "README: the two halves") {
  static std::atomic<std::uint64_t> mailed{0};
  static const auto mail = [](const SendReceipt& receipt, std::string_view id) {
    CHECK_FALSE(id.empty());
    mailed = receipt.order;
    ask_this_process_to_stop();
  };
#include "readme/use.inc"
  CHECK(mailed == 42);
  CHECK_FALSE(made.duplicate);
  CHECK(queue_row(client, "receipts").acked_total == 1);
}

TEST_CASE_FIXTURE(WorkerGuide, "worker guide: a worker") {
  std::atomic<int> mails{0};
  const auto mail = [&](const std::string& to, std::uint64_t, std::string_view id) {
    CHECK(to == "a@example.org");
    CHECK(id.starts_with("j"));
    ++mails;
    ask_this_process_to_stop();
  };
  client.enqueue("receipts", SendReceipt{"a@example.org", 42});
  const auto whole = [&]() -> int {
#include "worker_guide/worker.inc"

#include "worker_guide/report.inc"
  };
  CHECK(whole() == 0);
  CHECK(mails == 1);
}

TEST_CASE_FIXTURE(WorkerGuide, "worker guide: what a handler says") {
  std::atomic<bool> busy{true};
  const auto known = [](const std::string& to) { return to != "nobody"; };
  const auto mail_server_is_busy = [&] { return busy.exchange(false); };
  const auto mail = [&](const std::string& to, std::uint64_t, std::string_view) {
    if (to == "broken") throw std::runtime_error("550 no such mailbox");
  };
  RunningWorker running{doc_endpoint, {.queues = {"receipts"}}};
  jobq::Worker& worker = *running;
#include "worker_guide/outcomes.inc"
  running.start();
  client.enqueue("receipts", SendReceipt{"a@example.org", 1});  // snoozed
  CHECK(eventually([&] { return queue_row(client, "receipts").scheduled == 1; }));
  client.enqueue("receipts", SendReceipt{"nobody", 2});
  CHECK(eventually([&] { return queue_row(client, "receipts").dead == 1; }));
  client.enqueue("receipts", SendReceipt{"broken", 3}, {.max_attempts = 1});
  CHECK(eventually([&] { return queue_row(client, "receipts").dead == 2; }));
  client.enqueue("receipts", SendReceipt{"a@example.org", 4});
  CHECK(acked(1));
}

TEST_CASE_FIXTURE(WorkerGuide, "worker guide: the stop token of a cancelled job") {
  const std::vector<std::string> parts = {"one", "two", "three"};
  std::vector<std::string> imported;
  const auto import = [&](const std::string& part) {
    imported.push_back(part);
    if (part == "two") ask_this_process_to_stop();
  };
  jobq::Worker worker{doc_endpoint, {.queues = {"imports"}, .drain_timeout = 2s, .stop_grace = 2s}};
#include "worker_guide/stop_token.inc"
  worker.on("after", [](jobq::Context&) {});
  client.enqueue("imports", "x", {.type = "import"});
  const jobq::DrainReport report = worker.run();
  CHECK(report.unanswered == 0);
  const auto row = queue_row(client, "imports");
  // The stop may be seen before the third part, or just too late.
  CHECK(row.ready + row.acked_total == 1);
  CHECK(row.failed_total == 0);
}

TEST_CASE_FIXTURE(WorkerGuide, "worker guide: options, types") {
  {
#include "worker_guide/options.inc"
    CHECK_FALSE(worker.registered());
  }
  RunningWorker running{doc_endpoint, {.queues = {"receipts"}}};
  jobq::Worker& worker = *running;
#include "worker_guide/types.inc"
  running.start();
  client.enqueue("receipts", SendReceipt{"a@example.org", 40});
  client.enqueue("receipts", "xx", {.type = "thumbnail"});
  client.enqueue("receipts", "xx", {.type = "strange"});
  CHECK(acked(2));
  CHECK(eventually([&] { return queue_row(client, "receipts").dead == 1; }));
  CHECK(counted == 42);
}
