// The producing side against a real broker: outcomes, deadlines, restarts.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <set>
#include <thread>

#include "jobq/jobq.hpp"
#include "libjobq/admin.hpp"
#include "libjobq/io_thread.hpp"
#include "tests/client/e2e/broker_process.hpp"

using namespace jobq;
using namespace std::chrono_literals;
using test::BrokerProcess;
using test::eventually;
using test::patient;
using test::queue_row;

namespace {

struct SendReceipt {
  std::string to;
  std::uint64_t order = 0;
  MSGPACK_DEFINE_MAP(to, order)
};

template <typename F>
std::chrono::milliseconds time_of(F f) {
  // By the library's own clock, which counts whole milliseconds: another rounding would be off by one now and then.
  const TimeMs begin = monotonic_now();
  f();
  return std::chrono::milliseconds((monotonic_now() - begin).ms);
}

// What a busy machine may add to a deadline. How exactly deadlines are kept is tested in virtual time; here a wait that
// ignores its own deadline would last for the client's own timeout, or for ever.
std::chrono::milliseconds late() { return patient(1s); }

}  // namespace

TEST_CASE("a job is accepted with an id; the same unique key is a duplicate that names it") {
  BrokerProcess broker;
  broker.start();
  Client client{broker.endpoint(), {.timeout = patient(10s)}};
  const Enqueued made =
      client.enqueue("receipts", SendReceipt{"a@example.org", 42}, {.unique_key = "receipt:42"});
  CHECK(made.id.starts_with("j"));
  CHECK_FALSE(made.duplicate);
  CHECK(made.state == Enqueued::State::ready);

  const Enqueued again =
      client.enqueue("receipts", SendReceipt{"b@example.org", 42}, {.unique_key = "receipt:42"});
  CHECK(again.id == made.id);
  CHECK(again.duplicate);
  CHECK(again.body_differs);

  const Enqueued later = client.enqueue("receipts", "raw", {.delay = 1h});
  CHECK(later.state == Enqueued::State::scheduled);
  CHECK(queue_row(client, "receipts").enqueued_total == 2);
}

TEST_CASE("a job is accepted by future and by callback") {
  BrokerProcess broker;
  broker.start();
  Client client{broker.endpoint(), {.timeout = patient(10s)}};
  std::future<EnqueueResult> future = client.enqueue_async("q", "a");
  std::promise<EnqueueResult> called;
  client.enqueue_async("q", "b", {}, [&](EnqueueResult result) { called.set_value(std::move(result)); });
  CHECK(future.get().ok());
  CHECK(called.get_future().get().ok());
  CHECK(client.flush(1s));
}

TEST_CASE("many at once: a result each; all or nothing when asked for") {
  BrokerProcess broker;
  broker.start();
  Client client{broker.endpoint(), {.timeout = patient(20s)}};
  std::vector<NewJob> jobs;
  for (int i = 0; i < 5000; ++i) jobs.emplace_back("body " + std::to_string(i));
  jobs[7].options.priority = 99;
  std::set<std::string> ids;
  const auto results = client.enqueue_many("q", jobs);
  REQUIRE(results.size() == jobs.size());
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (i == 7) {
      CHECK(results[i].code() == Code::bad_priority);
    } else {
      REQUIRE_MESSAGE(results[i].ok(), results[i].status().text());
      ids.insert(results[i]->id);
    }
  }
  CHECK(ids.size() == 4999);

  test::set_queue(client, "small", "max_jobs", 2);
  const std::vector<NewJob> three = {"1", "2", "3"};
  const auto refused = client.enqueue_many("small", three, {.all_or_nothing = true});
  CHECK(std::none_of(refused.begin(), refused.end(), [](const auto& result) { return result.ok(); }));
  CHECK(queue_row(client, "small").enqueued_total == 0);
  const std::vector<NewJob> two = {"1", "2"};
  for (const auto& result : client.enqueue_many("small", two, {.all_or_nothing = true})) CHECK(result.ok());
  const EnqueueResult full = client.try_enqueue("small", "4");
  CHECK(full.outcome() == Outcome::refused);
  CHECK(full.code() == Code::queue_full);
  CHECK(full.retryable());
  CHECK(full.status().text().find("small") != std::string::npos);
}

TEST_CASE("wrong arguments are refused before anything is sent") {
  Client client{"ipc:///nonexistent/jobq-test", {.timeout = 200ms}};
  CHECK(client.try_enqueue("no/such name", "x").code() == Code::bad_queue_name);
  CHECK(client.try_enqueue("q", "x", {.type = "no type"}).code() == Code::bad_type);
  CHECK(client.try_enqueue("q", "x", {.priority = -1}).code() == Code::bad_priority);
  CHECK(client.try_enqueue("q", "x", {.delay = -5ms}).code() == Code::bad_time);
  CHECK(client.try_enqueue("q", "x", {.unique_key = std::string(300, 'k')}).code() == Code::bad_unique_key);
  CHECK(client.try_enqueue("q", "x", {.headers = {{"h", std::string(5000, 'v')}}}).code() ==
        Code::headers_too_large);
  CHECK(client.try_enqueue("q", "x", {.timeout = 0ms}).code() == Code::bad_argument);
  CHECK_THROWS_AS(Client("http://127.0.0.1:1"), Error);
  CHECK_THROWS_AS(Client("ipc:///tmp/x", {.buffer_jobs = 0}), Error);
}

TEST_CASE("no broker: every form ends at its deadline, unreachable and not unknown") {
  Client client{"ipc:///nonexistent/jobq-test"};
  const auto waited = time_of([&] {
    const EnqueueResult result = client.try_enqueue("q", "x", {.timeout = 300ms});
    CHECK(result.outcome() == Outcome::refused);
    CHECK(result.code() == Code::unreachable);
    CHECK(result.status().text().find("ipc:///nonexistent/jobq-test") != std::string::npos);
  });
  CHECK(waited >= 300ms);
  CHECK(waited <= 300ms + late());
  CHECK(time_of([&] { CHECK_FALSE(admin(client, "stats", {}, 200ms).ok()); }) <= 200ms + late());
  CHECK(time_of([&] { CHECK_THROWS_AS(client.enqueue("q", "x", {.timeout = 100ms}), Error); }) <=
        100ms + late());
}

TEST_CASE("a broker that is frozen: the deadline holds, the outcome is unknown") {
  BrokerProcess broker;
  broker.start();
  Client client{broker.endpoint(), {.timeout = patient(10s)}};
  client.enqueue("q", "before");
  broker.freeze();
  const auto waited = time_of([&] {
    const EnqueueResult result = client.try_enqueue("q", "x", {.timeout = 400ms});
    CHECK(result.outcome() == Outcome::unknown);
    CHECK(result.code() == Code::timed_out);
  });
  CHECK(waited >= 400ms);
  CHECK(waited <= 400ms + late());
  broker.thaw();
  client.enqueue("q", "after");
}

TEST_CASE("a full buffer is said at once") {
  Client client{"ipc:///nonexistent/jobq-test", {.timeout = 3s, .buffer_jobs = 3, .linger = 0ms}};
  std::vector<std::future<EnqueueResult>> taken;
  for (int i = 0; i < 3; ++i) taken.push_back(client.enqueue_async("q", "x"));
  const auto waited = time_of([&] { CHECK(client.try_enqueue("q", "x").code() == Code::buffer_full); });
  CHECK(waited < late());
  for (auto& future : taken) CHECK(future.get().code() == Code::unreachable);
  CHECK(client.enqueue_async("q", "x").wait_for(0s) == std::future_status::timeout);
}

TEST_CASE("a client that is destroyed completes everything") {
  std::future<EnqueueResult> future;
  {
    Client client{"ipc:///nonexistent/jobq-test", {.timeout = 60s, .linger = 10ms}};
    future = client.enqueue_async("q", "x");
  }
  CHECK(future.get().code() == Code::closed);
}

TEST_CASE("kill -9 and restart in the middle: no error to anyone, no job twice") {
  BrokerProcess broker{BrokerProcess::Transport::tcp};
  broker.start();
  Client client{broker.endpoint(), {.timeout = patient(60s)}};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> accepted{0};
  std::atomic<std::uint64_t> failed{0};
  std::vector<std::thread> producers;
  for (int t = 0; t < 4; ++t) {
    producers.emplace_back([&] {
      while (!stop) {
        const EnqueueResult result = client.try_enqueue("q", "body");
        if (result.ok()) {
          ++accepted;
        } else {
          ++failed;
          MESSAGE(result.status().text());
        }
      }
    });
  }
  for (int round = 0; round < 4; ++round) {
    const std::uint64_t before = accepted;
    CHECK(eventually([&] { return accepted > before + 50; }));
    broker.kill();
    broker.start();
  }
  const std::uint64_t before = accepted;
  CHECK(eventually([&] { return accepted > before + 50; }));
  stop = true;
  for (std::thread& producer : producers) producer.join();
  CHECK(failed == 0);
  CHECK(queue_row(client, "q").enqueued_total == accepted);
}

TEST_CASE("a fresh client whose first request dies with the broker is served by the next one") {
  BrokerProcess broker;
  broker.start();
  for (int round = 0; round < 3; ++round) {
    Client client{broker.endpoint(), {.timeout = patient(30s)}};
    REQUIRE(eventually([&] { return client.connected(); }));
    broker.freeze();
    std::future<EnqueueResult> first = client.enqueue_async("q", "x");
    CHECK(first.wait_for(50ms) == std::future_status::timeout);
    broker.kill();
    broker.start();
    const EnqueueResult result = first.get();
    CHECK_MESSAGE(result.ok(), result.status().text());
  }
  Client client{broker.endpoint(), {.timeout = patient(30s)}};
  CHECK(queue_row(client, "q").enqueued_total == 3);
}

TEST_CASE("a polite stop is ridden over as well") {
  BrokerProcess broker;
  broker.start();
  Client client{broker.endpoint(), {.timeout = patient(30s)}};
  client.enqueue("q", "x");
  CHECK(broker.stop() == 0);
  std::future<EnqueueResult> meanwhile = client.enqueue_async("q", "y");
  broker.start();
  CHECK(meanwhile.get().ok());
  CHECK(queue_row(client, "q").enqueued_total == 2);
}

TEST_CASE("many clients on one runtime") {
  BrokerProcess one;
  BrokerProcess two;
  one.start();
  two.start();
  const auto runtime = std::make_shared<Runtime>();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 20; ++i) {
    ClientOptions options{.timeout = patient(20s)};
    options.runtime = runtime;
    clients.push_back(std::make_unique<Client>(i % 2 == 0 ? one.endpoint() : two.endpoint(), options));
  }
  std::vector<std::future<EnqueueResult>> futures;
  for (auto& client : clients) futures.push_back(client->enqueue_async("q", "x"));
  for (auto& future : futures) CHECK(future.get().ok());
  CHECK(queue_row(*clients[0], "q").enqueued_total == 10);
  CHECK(queue_row(*clients[1], "q").enqueued_total == 10);
}
