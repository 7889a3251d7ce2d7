// The code of docs/client_guide.md, piece by piece, against a real broker.
#include "client_guide.pieces.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <future>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "jobq/jobq.hpp"
#include "tests/client/e2e/broker_process.hpp"
#include "tests/docs/document.hpp"

namespace {
#include "client_guide/receipt_type.inc"
}  // namespace

namespace renamed {
#include "client_guide/kept_name.inc"
}  // namespace renamed

#include "client_guide/own_format.inc"

using namespace std::chrono_literals;
using jobq::test::Document;
using jobq::test::patient;
using jobq::test::queue_row;

namespace {

struct ClientGuide : Document {
  jobq::Client client{doc_endpoint, {.timeout = patient(20s)}};
};

}  // namespace

TEST_CASE_FIXTURE(Document, "client guide: a client is made and enqueues") {
#include "client_guide/make_client.inc"
  CHECK(queue_row(client, "receipts").ready == 1);
}

TEST_CASE_FIXTURE(ClientGuide, "client guide: bodies") {
#include "client_guide/bodies.inc"
  CHECK(queue_row(client, "receipts").ready == 1);
  CHECK(queue_row(client, "thumbnails").ready == 1);
  CHECK(jobq::job_type<SendReceipt>() == "SendReceipt");
  CHECK(jobq::job_type<renamed::ReceiptMail>() == "SendReceipt");
  CHECK(jobq::unpack_body<renamed::ReceiptMail>(jobq::pack_body(SendReceipt{"a", 7})).order == 7);
  CHECK(jobq::unpack_body<Point>(jobq::pack_body(Point{3, 4})).y == 4);
  CHECK_THROWS_AS(jobq::unpack_body<Point>("nothing"), jobq::Error);
}

TEST_CASE_FIXTURE(Document, "client guide: three outcomes") {
  jobq::Client good{doc_endpoint, {.timeout = patient(20s)}};
  std::string logged;
  const auto log = [&](const std::string& line) { logged = line; };
  std::string answered;
  const auto answer_503 = [&](std::chrono::milliseconds) { answered = "503"; };
  const auto answer_500 = [&](const std::string&) { answered = "500"; };
  const auto handle_request = [&](jobq::Client& client) {
#include "client_guide/outcomes.inc"
  };
  handle_request(good);
  CHECK(logged.ends_with(" is new"));
  handle_request(good);
  CHECK(logged.ends_with(" was there already"));
  CHECK(answered.empty());

  jobq::test::set_queue(good, "receipts", "max_jobs", 1);
  CHECK(good.try_enqueue("receipts", "another").code() == jobq::Code::queue_full);
  CHECK(good.try_enqueue("receipts", "another").retryable());

  // Shorter than the silence after which the library connects anew: then nothing would be on its way.
  jobq::Client hasty{doc_endpoint, {.timeout = 1s}};
  REQUIRE(jobq::test::eventually([&] { return hasty.connected(); }));
  broker.freeze();
  handle_request(hasty);
  CHECK(answered == "503");
  CHECK(hasty.try_enqueue("receipts", "x").outcome() == jobq::Outcome::unknown);
  broker.thaw();
  jobq::Client lost{doc_endpoint + "-nobody", {.timeout = 200ms}};
  const jobq::EnqueueResult unsent = lost.try_enqueue("receipts", "x");
  CHECK(unsent.outcome() == jobq::Outcome::refused);
  CHECK(unsent.code() == jobq::Code::unreachable);

  jobq::Client& client = good;
#include "client_guide/throwing.inc"
  CHECK(logged == "bad_priority");
}

TEST_CASE_FIXTURE(ClientGuide, "client guide: a restart within the deadline is a pause") {
  REQUIRE(jobq::test::eventually([&] { return client.connected(); }));
  broker.kill();
  std::future<jobq::EnqueueResult> made = client.enqueue_async("receipts", "x");
  broker.start();
  CHECK(made.get().ok());
  CHECK(queue_row(client, "receipts").enqueued_total == 1);
}

TEST_CASE_FIXTURE(ClientGuide, "client guide: deadlines and keys") {
#include "client_guide/deadlines.inc"
  CHECK(queue_row(client, "receipts").ready == 1);
  {
#include "client_guide/unique.inc"
    CHECK(again.duplicate);
    CHECK(again.id == first.id);
    CHECK(again.state == jobq::Enqueued::State::ready);
    CHECK(again.body_differs);
  }
  CHECK_FALSE(client.enqueue("elsewhere", "order 44", {.unique_key = "receipt:44"}).duplicate);
}

TEST_CASE_FIXTURE(ClientGuide, "client guide: many at once") {
  {
#include "client_guide/many.inc"
    CHECK(accepted == 1000);
  }
  {
#include "client_guide/together.inc"
    CHECK(results[0].code() == jobq::Code::not_done);
    CHECK(results[1].code() == jobq::Code::bad_priority);
    CHECK(queue_row(client, "reports").ready == 0);
  }
  int stored = 0;
#include "client_guide/async.inc"
  CHECK(stored == 1000);
  CHECK(queue_row(client, "receipts").ready == 2000);
  CHECK(client.flush(5s));
}

TEST_CASE_FIXTURE(ClientGuide, "client guide: times, priorities, limits, headers") {
  using namespace std::chrono;
#include "client_guide/later.inc"
  CHECK(queue_row(client, "reminders").scheduled == 2);
  CHECK(queue_row(client, "codes").ready == 1);
#include "client_guide/limits_of_a_job.inc"
  CHECK(queue_row(client, "receipts").ready == 1);
#include "client_guide/priority.inc"
  CHECK(queue_row(client, "receipts").ready == 2);
#include "client_guide/headers.inc"
  CHECK(queue_row(client, "receipts").ready == 3);
}

TEST_CASE_FIXTURE(ClientGuide, "client guide: many clients, and the limits of its last table") {
#include "client_guide/runtime.inc"
  CHECK(orders.enqueue("receipts", "a").id != client.enqueue("receipts", "b").id);
  CHECK(metrics.endpoint() == orders.endpoint());

  const auto refusal = [&](const jobq::EnqueueOptions& options, const std::string& body = "x") {
    return client.try_enqueue("receipts", body, options).code();
  };
  CHECK(refusal({}, std::string(1 << 20, 'x')) == jobq::Code::ok);
  CHECK(refusal({}, std::string((1 << 20) + 1, 'x')) == jobq::Code::body_too_large);
  CHECK(refusal({.headers = {{"h", std::string(4096, 'x')}}}) == jobq::Code::headers_too_large);
  CHECK(refusal({.headers = jobq::Headers(65, {"h", ""})}) == jobq::Code::headers_too_large);
  CHECK(refusal({.type = std::string(65, 't')}) == jobq::Code::bad_type);
  CHECK(refusal({.unique_key = std::string(257, 'k')}) == jobq::Code::bad_unique_key);
  CHECK(refusal({.delay = 24h * 365 * 11}) == jobq::Code::bad_time);
  CHECK(refusal({.max_attempts = 1001}) == jobq::Code::bad_argument);
  CHECK(refusal({.max_run_time = 24h * 8}) == jobq::Code::bad_time);
  CHECK(client.try_enqueue("no spaces", "x").code() == jobq::Code::bad_queue_name);
}
