// The same with GoogleTest: a fixture, and a test of what happens when the broker dies at the worst moment.
// docs/testing_your_code.md goes through it.
#include <gtest/gtest.h>

#include <atomic>

#include "examples/testing/receipts.hpp"
#include "jobq/testing.hpp"

using namespace std::chrono_literals;

namespace {

struct CountingMailer : receipts::Mailer {
  std::atomic<int> sent = 0;
  void send(const std::string&, std::uint64_t) override { ++sent; }
};

class Receipts : public ::testing::Test {
 protected:
  Receipts() { receipts::serve(worker_, mailer_); }

  jobq::testing::Broker broker_;
  CountingMailer mailer_;
  jobq::Client client_{broker_.endpoint(), {.runtime = broker_.runtime()}};
  jobq::Worker worker_{broker_.endpoint(),
                       {.queues = {receipts::kQueue}, .handle_signals = false, .runtime = broker_.runtime()}};
};

TEST_F(Receipts, AreMailedTenMinutesAfterTheOrder) {
  const auto running = broker_.start(worker_);
  EXPECT_EQ(receipts::checkout(client_, "a@example.org", 42), receipts::Answer::accepted);
  broker_.advance(10min);
  EXPECT_EQ(mailer_.sent, 1);
}

TEST_F(Receipts, SurviveABrokerThatDiesBeforeItAnswers) {
  broker_.crash_after_next_commit();
  EXPECT_EQ(receipts::checkout(client_, "a@example.org", 42), receipts::Answer::come_again);
  broker_.restart();
  EXPECT_EQ(receipts::checkout(client_, "a@example.org", 42),
            receipts::Answer::accepted);  // the customer's second click
  const auto running = broker_.start(worker_);
  broker_.advance(10min);
  EXPECT_EQ(mailer_.sent, 1) << "the unique key makes the two orders one";
}

TEST_F(Receipts, AreRefusedWhileTheDiskOfTheBrokerIsFull) {
  broker_.refuse_enqueues(true);
  EXPECT_EQ(receipts::checkout(client_, "a@example.org", 42), receipts::Answer::come_again);
  broker_.refuse_enqueues(false);
  EXPECT_EQ(receipts::checkout(client_, "a@example.org", 42), receipts::Answer::accepted);
}

}  // namespace
