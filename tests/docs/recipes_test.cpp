// The code of docs/recipes.md, piece by piece, against a real broker.
#include "recipes.pieces.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "broker/engine/retry.hpp"
#include "jobq/jobq.hpp"
#include "tests/client/e2e/broker_process.hpp"
#include "tests/client/e2e/running_worker.hpp"
#include "tests/docs/document.hpp"

namespace {
#include "recipes/claim_check.inc"
}  // namespace

using namespace std::chrono_literals;
using jobq::test::Document;
using jobq::test::eventually;
using jobq::test::patient;
using jobq::test::queue_row;
using jobq::test::RunningWorker;

namespace {

struct Recipes : Document {
  jobq::Client client{doc_endpoint, {.timeout = patient(20s)}};
  RunningWorker running{doc_endpoint, {.queues = {"q"}}};
  jobq::Worker& worker = *running;

  bool acked(std::uint64_t count) {
    return eventually([&] { return queue_row(client, "q").acked_total == count; });
  }
};

struct Response {
  int status = 0;
  std::chrono::milliseconds retry_after{};
};

// Runs the way of a table that has its primary key checked when a row comes in.
struct Database {
  std::mutex mutex;
  std::set<std::string> done_jobs;
  std::vector<std::string> booked;
};

class Transaction {
 public:
  explicit Transaction(Database& database) : database_(&database), lock_(database.mutex) {}
  bool insert_new(const std::string&, const std::string& id) {
    done_ = id;
    return !database_->done_jobs.contains(id);
  }
  void book(std::string_view what) { booked_ = what; }
  void commit() {
    database_->done_jobs.insert(done_);
    database_->booked.push_back(booked_);
  }

 private:
  Database* database_;
  std::lock_guard<std::mutex> lock_;
  std::string done_;
  std::string booked_;
};

struct Payments {
  struct Options {
    std::string idempotency_key;
  };
  std::set<std::string> charged;
  void charge(std::string_view, const Options& options) { charged.insert(options.idempotency_key); }
};

struct MailServer {
  std::atomic<int> asked{0};
  bool is_down() { return ++asked == 1; }
  void send(std::string_view) {}
};

}  // namespace

TEST_CASE_FIXTURE(Recipes, "recipes: the other side says when to come again") {
  const auto post = [](std::string_view body) {
    return Response{std::stoi(std::string{body}), std::chrono::minutes{10}};
  };
#include "recipes/retry_after.inc"
  running.start();
  for (const char* status : {"429", "404", "500", "200"}) client.enqueue("q", status, {.type = "webhook"});
  CHECK(acked(1));
  CHECK(eventually([&] { return queue_row(client, "q").scheduled == 2; }));
  CHECK(queue_row(client, "q").dead == 1);
}

TEST_CASE_FIXTURE(Recipes, "recipes: idempotent handlers") {
  Payments payments;
#include "recipes/idempotency_key.inc"
  Database database;
#include "recipes/remember.inc"
  running.start();
  const std::string id = client.enqueue("q", "5 EUR", {.type = "charge"}).id;
  const std::string booked = client.enqueue("q", "5 EUR", {.type = "book"}).id;
  CHECK(acked(2));
  running.finish();
  CHECK(payments.charged == std::set<std::string>{id});
  CHECK(database.done_jobs == std::set<std::string>{booked});
  CHECK_FALSE(Transaction{database}.insert_new("done_jobs", booked));
}

TEST_CASE_FIXTURE(Recipes, "recipes: a dependency is down") {
  MailServer mail_server;
  const auto jitter = [] { return 100ms; };
#include "recipes/breaker.inc"
  running.start();
  client.enqueue("q", "x", {.type = "mail"});
  CHECK(eventually([&] { return queue_row(client, "q").scheduled == 1; }));
  CHECK(queue_row(client, "q").failed_total == 0);
}

TEST_CASE_FIXTURE(Document, "recipes: weights, and a type that names an object") {
#include "recipes/weights.inc"
  CHECK_FALSE(worker.registered());
  CHECK(jobq::unpack_body<MakeThumbnail>(jobq::pack_body(MakeThumbnail{"uploads/7f3a.jpg", 100})).width ==
        100);
}

TEST_CASE("recipes: the table of default waits") {
  const jobq::QueueSettings settings;
  jobq::Prng prng(1);
  const auto longest = [&](std::uint32_t failures) {
    std::int64_t most = 0;
    for (int i = 0; i < 2000; ++i) {
      const std::int64_t wait = jobq::backoff(settings, failures, &prng).ms;
      CHECK(wait >= 1000);
      most = std::max(most, wait);
    }
    return static_cast<double>(most) / 1000;
  };
  CHECK(longest(1) == doctest::Approx(2).epsilon(0.05));
  CHECK(longest(2) == doctest::Approx(4).epsilon(0.05));
  CHECK(longest(3) == doctest::Approx(8).epsilon(0.05));
  CHECK(longest(6) == doctest::Approx(64).epsilon(0.05));
  CHECK(longest(10) == doctest::Approx(17 * 60).epsilon(0.05));
  CHECK(longest(16) == doctest::Approx(12 * 3600).epsilon(0.05));
  double days = 0;
  for (int round = 0; round < 100; ++round) {
    for (std::uint32_t failure = 1; failure < 25; ++failure)
      days += static_cast<double>(jobq::backoff(settings, failure, &prng).ms) / 86'400'000 / 100;
  }
  CHECK(days == doctest::Approx(2.6).epsilon(0.1));
}
