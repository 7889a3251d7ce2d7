// The world behind jobq/testing.hpp: when it may move time. Its driver stands between a client and the world here, so that a
// thread is interrupted where it must not matter.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "jobq/jobq.hpp"
#include "jobq/testing.hpp"
#include "libjobq/io_driver.hpp"

using namespace std::chrono_literals;
using jobq::Client;
using jobq::testing::Broker;

namespace {

// A minute passes, as far as the world lets it, between a call that was handed over and the peer's being woken for it.
class LateToWake final : public jobq::IoDriver {
 public:
  explicit LateToWake(Broker* broker) : broker_(broker), runtime_(broker->runtime()) {}

  jobq::Status add(const std::shared_ptr<jobq::IoPeer>& peer, const std::string& endpoint) override {
    return world().add(peer, endpoint);
  }
  void remove(const jobq::IoPeer* peer, int linger_ms) override { world().remove(peer, linger_ms); }
  void wake(const jobq::IoPeer* peer) override {
    broker_->advance(1min);
    world().wake(peer);
  }
  [[nodiscard]] jobq::TimeMs now() const override { return runtime_->driver().now(); }

 private:
  [[nodiscard]] jobq::IoDriver& world() { return runtime_->driver(); }

  Broker* broker_;
  std::shared_ptr<jobq::Runtime> runtime_;
};

}  // namespace

TEST_CASE(
    "a call counts from when it was handed over, although its thread stands still before it wakes the "
    "client") {
  Broker broker;
  Client client{broker.endpoint(),
                {.runtime = std::make_shared<jobq::Runtime>(std::make_shared<LateToWake>(&broker))}};
  broker.settle();  // connected and greeted: nothing else gives the client a turn now
  const auto before = broker.now();
  const auto result = client.try_enqueue("q", "x", {.timeout = 5s});
  CHECK(result.ok());
  CHECK(broker.now() == before + 1min);
  CHECK(broker.queue("q").ready == 1);
}

TEST_CASE("flush() ends with what was sent before it") {
  Broker broker;
  Client client{broker.endpoint(),
                {.runtime = std::make_shared<jobq::Runtime>(std::make_shared<LateToWake>(&broker))}};
  broker.settle();
  bool ok = false;
  client.enqueue_async("q", "x", {.timeout = 5s},
                       [&ok](const jobq::EnqueueResult& result) { ok = result.ok(); });
  CHECK(client.flush(5s));
  CHECK(ok);
}
