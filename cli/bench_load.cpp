#include "cli/bench_load.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "cli/interrupt.hpp"
#include "cli/table.hpp"
#include "jobq/client.hpp"
#include "jobq/worker.hpp"
#include "libjobq/base/latency_histogram.hpp"

namespace jobq::cli {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kWarmUp{500};
constexpr milliseconds kEnqueueTimeout{30'000};
constexpr milliseconds kAllDone{30'000};        // for what is on its way when a measurement ends
constexpr milliseconds kAfterRefusal{20};       // a queue or store that is full is not hammered
constexpr std::size_t kOnTheirWayMax = 20'000;  // enqueued and not yet run: a backlog is no full cycle

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
}

std::string per_second(std::uint64_t jobs, Clock::duration span) {
  const double seconds = std::max(std::chrono::duration<double>(span).count(), 1e-9);
  return fmt::format("{} jobs/s",
                     group_digits(static_cast<std::int64_t>(static_cast<double>(jobs) / seconds)));
}

ClientOptions client_options(const BenchShape& shape) {
  ClientOptions options;
  options.timeout = kEnqueueTimeout;
  options.pack = shape.pack;
  options.buffer_jobs = shape.window + 1;
  options.buffer_bytes = std::max(options.buffer_bytes, 2 * shape.window * (shape.body_bytes + 256));
  options.linger = milliseconds{0};
  return options;
}

WorkerOptions worker_options(const std::string& queue, const BenchShape& shape) {
  WorkerOptions options;
  options.queues = {queue};
  options.prefetch = std::min<std::size_t>(shape.window, 10'000);
  options.handle_signals = false;
  options.name = "jobq-bench";
  options.log = [](std::string_view /*line*/) {};
  return options;
}

}  // namespace

struct BenchLoad::State {
  State(const std::string& endpoint, std::string its_queue, const BenchShape& its_shape)
      : queue(std::move(its_queue)),
        shape(its_shape),
        body(std::max<std::size_t>(shape.body_bytes, sizeof(std::int64_t)), 'x'),
        client(endpoint, client_options(shape)),
        worker(endpoint, worker_options(queue, shape)) {
    worker.on_any([this](Context& job) {
      std::int64_t sent_ns = 0;
      std::memcpy(&sent_ns, job.body().data(), std::min(sizeof sent_ns, job.body().size()));
      delivery.add(now_ns() - sent_ns);
      done.fetch_add(1, std::memory_order_relaxed);
    });
    working = std::thread([this] {
      try {
        worker.run();
      } catch (const Error& error) {
        refuse({error.code(), error.what()});
      }
    });
  }

  ~State() { end(); }

  void end() {
    if (!working.joinable()) return;
    worker.stop();
    working.join();
  }

  void refuse(const Status& status) {
    refused.fetch_add(1, std::memory_order_relaxed);
    const std::lock_guard lock(mutex);
    if (first_refusal.ok()) first_refusal = status;
  }

  // What is answered is counted; called on the library's thread.
  void answered(const EnqueueResult& result, std::int64_t sent_ns) {
    if (result.ok()) {
      confirm.add(now_ns() - sent_ns);
      accepted.fetch_add(1, std::memory_order_relaxed);
    } else {
      refuse(result.status());
    }
    const std::size_t left = open.fetch_sub(1, std::memory_order_acq_rel) - 1;
    // At three quarters, so that the producer comes back to much room and not to one place.
    if (left == shape.window - shape.window / 4 || left == 0) {
      const std::lock_guard lock(mutex);
      room.notify_one();
    }
  }

  void enqueue() {
    const std::int64_t sent_ns = now_ns();
    std::memcpy(body.data(), &sent_ns, sizeof sent_ns);
    open.fetch_add(1, std::memory_order_relaxed);
    client.enqueue_async(queue, body, {},
                         [this, sent_ns](const EnqueueResult& result) { answered(result, sent_ns); });
  }

  void wait_for_room() {
    std::unique_lock lock(mutex);
    room.wait_for(lock, milliseconds{2}, [this] { return open.load() <= shape.window - shape.window / 4; });
  }

  // True when a measurement has to wait a moment before the next job.
  bool held_up(std::uint64_t refused_before) {
    if (refused.load(std::memory_order_relaxed) != refused_before) {
      wait_interruptible({kAfterRefusal.count()});
      return true;
    }
    if (open.load(std::memory_order_relaxed) >= shape.window) {
      wait_for_room();
      return true;
    }
    const std::uint64_t confirmed = accepted.load(std::memory_order_relaxed),
                        ran = done.load(std::memory_order_relaxed);
    if (confirmed > ran && confirmed - ran >= kOnTheirWayMax) {
      wait_interruptible({1});
      return true;
    }
    return false;
  }

  void settle() {
    const auto until = Clock::now() + kAllDone;
    while ((open.load() > 0 || done.load() < accepted.load()) && Clock::now() < until && !interrupted())
      wait_interruptible({2});
  }

  // Calls step() until the time is over; counts what happens after the warm-up.
  template <typename Step>
  BenchResult measure(DurationMs span, const Show& show, Step step) {
    auto from = Clock::now() + kWarmUp;
    bool warm = false;
    std::uint64_t accepted_before = 0, done_before = 0;
    const std::uint64_t refused_before = refused.load();
    for (auto now = Clock::now(); (!warm || now < from + milliseconds{span.ms}) && !interrupted();
         now = Clock::now()) {
      if (!warm && now >= from) {
        warm = true;
        from = now;
        accepted_before = accepted.load();
        done_before = done.load();
        confirm.clear();
        delivery.clear();
      }
      if (warm) show(per_second(done.load() - done_before, now - from));
      step();
    }
    BenchResult result;
    if (warm) {
      result.seconds = std::chrono::duration<double>(Clock::now() - from).count();
      result.enqueued = accepted.load() - accepted_before;
      result.done = done.load() - done_before;
    }
    settle();
    result.refused = refused.load() - refused_before;
    result.confirm_p50_us = confirm.percentile_us(0.50), result.confirm_p99_us = confirm.percentile_us(0.99);
    result.delivery_p50_us = delivery.percentile_us(0.50),
    result.delivery_p99_us = delivery.percentile_us(0.99);
    return result;
  }

  const std::string queue;
  const BenchShape shape;
  std::string body;
  LatencyHistogram confirm, delivery;
  std::atomic<std::size_t> open{0};
  std::atomic<std::uint64_t> accepted{0}, refused{0}, done{0};
  mutable std::mutex mutex;
  std::condition_variable room;
  Status first_refusal;
  Client client;  // behind what its callbacks use
  Worker worker;
  std::thread working;
};

BenchLoad::BenchLoad(const std::string& endpoint, std::string queue, const BenchShape& shape)
    : state_(std::make_unique<State>(endpoint, std::move(queue), shape)) {}

BenchLoad::~BenchLoad() = default;

Status BenchLoad::begin(DurationMs patience) {
  State& state = *state_;
  const auto until = Clock::now() + milliseconds{patience.ms};
  state.enqueue();
  while (state.done.load() == 0 && state.refused.load() == 0 && Clock::now() < until && !interrupted())
    wait_interruptible({2});
  if (state.done.load() > 0 || interrupted()) return {};
  if (Status refused = refusal(); !refused.ok()) return refused;
  return {Code::timed_out, fmt::format("no job came through within {} ms", patience.ms)};
}

BenchResult BenchLoad::full_cycle(DurationMs span, const Show& show) {
  State& state = *state_;
  std::uint64_t refused = state.refused.load();
  return state.measure(span, show, [&] {
    // Many between two looks at the clock.
    for (int i = 0; i < 64; ++i) {
      if (state.held_up(refused)) {
        refused = state.refused.load();
        return;
      }
      state.enqueue();
    }
  });
}

BenchResult BenchLoad::paced(DurationMs span, double jobs_per_second, const Show& show) {
  State& state = *state_;
  const auto begun = Clock::now();
  std::uint64_t refused = state.refused.load(), sent = 0;
  return state.measure(span, show, [&] {
    const std::chrono::duration<double> passed = Clock::now() - begun;
    if (static_cast<double>(sent) >= passed.count() * jobs_per_second) {
      std::this_thread::sleep_for(std::chrono::microseconds{100});
      return;
    }
    if (state.held_up(refused)) {
      refused = state.refused.load();
      return;
    }
    state.enqueue();
    ++sent;
  });
}

BenchResult BenchLoad::one_at_a_time(DurationMs span, const Show& show) {
  State& state = *state_;
  return state.measure(span, show, [&] {
    const std::int64_t sent_ns = now_ns();
    std::memcpy(state.body.data(), &sent_ns, sizeof sent_ns);
    state.open.fetch_add(1, std::memory_order_relaxed);
    const EnqueueResult result = state.client.try_enqueue(state.queue, state.body);
    state.answered(result, sent_ns);
    if (!result.ok()) wait_interruptible({kAfterRefusal.count()});
  });
}

void BenchLoad::end() { state_->end(); }

Status BenchLoad::refusal() const {
  const std::lock_guard lock(state_->mutex);
  return state_->first_refusal;
}

}  // namespace jobq::cli
