#include <fmt/format.h>
#include <poll.h>

#include <cstring>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "bench/bench_load.hpp"
#include "jobq/runtime.hpp"
#include "jobq/worker.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/prng.hpp"
#include "libjobq/identity.hpp"
#include "libjobq/io_driver.hpp"
#include "libjobq/worker/worker_core.hpp"

namespace jobq::bench {
namespace {

std::vector<WorkerQueue> queues_of(const Load& load) {
  std::vector<WorkerQueue> queues;
  for (std::uint32_t i = 0; i < load.queues; ++i)
    queues.emplace_back(load.queues == 1 ? load.queue : fmt::format("{}-{}", load.queue, i));
  return queues;
}

void note_delivery(const Load& load, std::string_view body) {
  SharedState* shared = load.shared;
  if (shared->first_delivery_ns.load(std::memory_order_relaxed) == 0) shared->first_delivery_ns = now_ns();
  if (!load.time_deliveries || !shared->measuring.load(std::memory_order_relaxed)) return;
  std::int64_t sent = 0;
  std::memcpy(&sent, body.data(), sizeof sent);
  shared->delivery_latency.add(now_ns() - sent);
}

}  // namespace

void run_worker(const Load& load) {
  WorkerOptions options;
  options.queues = queues_of(load);
  options.concurrency = 1;
  options.prefetch = load.credit - 1;
  options.handle_signals = false;
  options.log = [](std::string_view) {};
  options.drain_timeout = std::chrono::milliseconds{1000};
  options.stop_grace = std::chrono::milliseconds{0};
  Worker worker(load.endpoint, options);
  Prng prng(3);
  worker.on_any([&](Context& job) {
    note_delivery(load, job.body());
    if (load.fail_percent > 0 && job.attempt() == 1 && prng.below(100) < load.fail_percent) {
      load.shared->failed.fetch_add(1, std::memory_order_relaxed);
      throw std::runtime_error("the dependency does not answer");
    }
    load.shared->done.fetch_add(1, std::memory_order_relaxed);
  });
  ++load.shared->ready;
  std::thread stopper([&] {
    while (!load.shared->stop) sleep_ms(5);
    worker.stop();
    worker.stop();
  });
  worker.run();
  stopper.join();
}

namespace {

// One session. What it holds is acked as it comes or, when it is to hold many, in random order.
class LooseSession final : public IoPeer {
 public:
  LooseSession(const Load& load, std::size_t held_max, std::uint64_t seed)
      : load_(load), held_max_(held_max), prng_(seed), core_(this_process(load.endpoint), setup(load)) {
    JOBQ_CHECK(held_max_ < load.credit, "a credit of {} is no room for the {} jobs that a worker is to hold",
               load.credit, held_max_);
  }

  PeerCore& core() override { return core_; }
  void before_turn(TimeMs /*now*/) override {}
  bool after_turn(TimeMs now) override {
    std::uint64_t done = 0;
    for (WorkerEvent& event : core_.take_events()) {
      auto* run = std::get_if<worker_event::Run>(&event);
      if (run == nullptr) continue;
      note_delivery(load_, run->job.body);
      held_.push_back(run->job.lease);
    }
    while (held_.size() > held_max_) {
      const std::size_t at = held_max_ == 0 ? done % held_.size() : prng_.below(held_.size());
      if (held_max_ == 0) {  // all, in order
        for (const protocol::LeaseRef& lease : held_) ack(lease, now);
        done += held_.size();
        held_.clear();
        break;
      }
      ack(held_[at], now);
      held_[at] = held_.back();
      held_.pop_back();
      ++done;
    }
    if (done == 0) return false;
    load_.shared->done.fetch_add(done, std::memory_order_relaxed);
    return true;
  }
  void log(std::string_view /*line*/) override {}

 private:
  static WorkerSetup setup(const Load& load) {
    WorkerSetup setup;
    setup.queues = queues_of(load);
    setup.credit_jobs = static_cast<std::uint32_t>(load.credit);
    setup.name = "loose";
    return setup;
  }
  void ack(const protocol::LeaseRef& lease, TimeMs now) {
    core_.finish({lease, protocol::OutcomeKind::ack, "", {}, {}}, now);
  }

  const Load load_;
  const std::size_t held_max_;
  Prng prng_;
  WorkerCore core_;
  std::vector<protocol::LeaseRef> held_;
};

}  // namespace

void run_loose_worker(const Load& load) {
  Runtime runtime;
  std::vector<std::shared_ptr<LooseSession>> sessions;
  for (std::uint32_t i = 0; i < load.workers; ++i) {
    sessions.push_back(std::make_shared<LooseSession>(load, load.held / load.workers, i + 1));
    if (!runtime.driver().add(sessions.back(), load.endpoint).ok()) return;
  }
  ++load.shared->ready;
  while (!load.shared->stop) sleep_ms(5);
  for (const auto& session : sessions) runtime.driver().remove(session.get(), 0);
}

}  // namespace jobq::bench
