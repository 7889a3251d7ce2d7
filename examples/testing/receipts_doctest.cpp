// How to test a program that uses jobq, with doctest: the real Client and Worker, a broker inside of the test, and no waiting.
// docs/testing_your_code.md goes through it.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <atomic>
#include <stdexcept>

#include "examples/testing/receipts.hpp"
#include "jobq/testing.hpp"

using namespace std::chrono_literals;

namespace {

// Handlers run in threads of their own: what they change is atomic.
struct FakeMailer : receipts::Mailer {
  std::atomic<int> sent = 0;
  std::atomic<bool> down = false;
  void send(const std::string&, std::uint64_t) override {
    if (down) throw std::runtime_error("451 mail server is busy");
    ++sent;
  }
};

struct Fixture {
  jobq::testing::Broker broker;
  FakeMailer mailer;
  jobq::Client client{broker.endpoint(), {.runtime = broker.runtime()}};
  jobq::Worker worker{broker.endpoint(),
                      {.queues = {receipts::kQueue}, .handle_signals = false, .runtime = broker.runtime()}};
  Fixture() { receipts::serve(worker, mailer); }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "the receipt is mailed ten minutes after the order, once") {
  const auto running = broker.start(worker);
  CHECK(receipts::checkout(client, "a@example.org", 42) == receipts::Answer::accepted);
  CHECK(receipts::checkout(client, "a@example.org", 42) == receipts::Answer::accepted);
  broker.advance(9min);
  CHECK(mailer.sent == 0);
  broker.advance(1min);
  CHECK(mailer.sent == 1);
}

TEST_CASE_FIXTURE(Fixture, "a mail server that is down for an hour delays the receipt and loses nothing") {
  const auto running = broker.start(worker);
  mailer.down = true;
  receipts::checkout(client, "a@example.org", 42);
  broker.advance(1h);
  CHECK(mailer.sent == 0);
  CHECK(broker.queue(receipts::kQueue).failed_total > 5);  // it was tried again and again
  mailer.down = false;
  broker.advance(2h);
  CHECK(mailer.sent == 1);
}

TEST_CASE_FIXTURE(Fixture, "an order without an address is among the dead, with the reason") {
  const auto running = broker.start(worker);
  receipts::checkout(client, "", 43);
  broker.advance(10min);
  const auto dead = broker.dead(receipts::kQueue);
  REQUIRE(dead.size() == 1);
  CHECK(dead[0].errors.back() == "an order without an address");
}

TEST_CASE_FIXTURE(Fixture, "without a broker the customer is asked to come again, and a kill loses nothing") {
  receipts::checkout(client, "a@example.org", 42);
  broker.crash();
  CHECK(receipts::checkout(client, "b@example.org", 44) ==
        receipts::Answer::come_again);  // at once, in real time
  broker.restart();
  const auto running = broker.start(worker);
  broker.advance(10min);
  CHECK(mailer.sent == 1);
}
