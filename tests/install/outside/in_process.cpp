// A test of a user's, built by install_test.py against the installed jobq-testing: a job that is due in an hour is done at once.
#include <cstdio>

#include "jobq/jobq.hpp"
#include "jobq/testing.hpp"

int main() {
  using namespace std::chrono_literals;
  jobq::testing::Broker broker;
  jobq::Client client{broker.endpoint(), {.runtime = broker.runtime()}};
  jobq::Worker worker{
      broker.endpoint(),
      {.queues = {"q"}, .handle_signals = false, .runtime = broker.runtime(), .log = [](auto) {}}};
  worker.on_any([](jobq::Context& job) {
    if (job.attempt() == 1) throw std::runtime_error("first");
  });
  auto running = broker.start(worker);
  client.enqueue("q", "x", {.delay = 1h});
  broker.advance(2h);
  std::printf("acked %d failed %d\n", static_cast<int>(broker.queue("q").acked_total),
              static_cast<int>(broker.queue("q").failed_total));
  return running.stop().unanswered == 0 ? 0 : 1;
}
