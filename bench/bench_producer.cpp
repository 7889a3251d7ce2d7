#include <fmt/format.h>

#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bench/bench_load.hpp"
#include "jobq/client.hpp"
#include "jobq/runtime.hpp"
#include "libjobq/base/prng.hpp"

namespace jobq::bench {
namespace {

using namespace std::chrono_literals;

// Counts what is on its way and lets the producing thread wait for room.
class Window {
 public:
  explicit Window(std::size_t size) : size_(size) {}
  void enter() { open_.fetch_add(1, std::memory_order_relaxed); }
  void leave() {
    const std::size_t left = open_.fetch_sub(1, std::memory_order_acq_rel) - 1;
    // Woken at three quarters, so that the producer comes back to a heap of room and not to one place.
    if (left == size_ - size_ / 4 || left == 0) {
      const std::lock_guard lock(mutex_);
      room_.notify_one();
    }
  }
  [[nodiscard]] bool full() const { return open_.load(std::memory_order_relaxed) >= size_; }
  [[nodiscard]] bool empty() const { return open_.load(std::memory_order_acquire) == 0; }
  void wait_for_room() {
    std::unique_lock lock(mutex_);
    room_.wait_for(lock, 2ms, [this] { return open_.load() <= size_ - size_ / 4; });
  }

 private:
  const std::size_t size_;
  std::atomic<std::size_t> open_{0};
  std::mutex mutex_;
  std::condition_variable room_;
};

class Producer {
 public:
  explicit Producer(const Load& load) : load_(load), window_(load.window), prng_(11) {
    auto runtime = std::make_shared<Runtime>();
    for (std::uint32_t i = 0; i < load.producers; ++i) {
      ClientOptions options;
      options.runtime = runtime;
      options.timeout = 60s;
      options.pack = load.pack;
      options.buffer_jobs = 1'000'000;
      options.buffer_bytes = std::size_t{1} << 30;
      clients_.push_back(std::make_unique<Client>(load.endpoint, options));
    }
    for (std::uint32_t i = 0; i < load.queues; ++i)
      queues_.push_back(load.queues == 1 ? load.queue : fmt::format("{}-{}", load.queue, i));
    body_.assign(std::max<std::size_t>(load.body_bytes, 8), 'x');
  }

  void run() {
    for (auto& client : clients_) {
      while (!client->connected() && !load_.shared->stop) sleep_ms(1);
    }
    ++load_.shared->ready;
    const std::int64_t begun = now_ns();
    while (!load_.shared->stop && (load_.count == 0 || sent_ < load_.count)) {
      if (load_.shared->paused) {
        sleep_ms(1);
        continue;
      }
      if (load_.one_at_a_time) {
        enqueue_and_wait();
        continue;
      }
      if (load_.rate > 0 &&
          static_cast<double>(sent_) > static_cast<double>(now_ns() - begun) / 1e9 * load_.rate) {
        std::this_thread::sleep_for(100us);
        continue;
      }
      if (window_.full()) {
        window_.wait_for_room();
        continue;
      }
      const std::uint64_t done = load_.shared->done.load(std::memory_order_relaxed);  // of the backlog too
      if (load_.in_flight > 0 && sent_ > done && sent_ - done >= load_.in_flight) {
        std::this_thread::sleep_for(200us);
        continue;
      }
      enqueue();
    }
    while (load_.count > 0 && !window_.empty() && !load_.shared->stop) sleep_ms(1);
  }

 private:
  const EnqueueOptions& options() {
    if (load_.priorities > 1) options_.priority = static_cast<int>(prng_.below(load_.priorities));
    if (load_.delay_max_ms > 0) {
      options_.delay =
          std::chrono::milliseconds{1 + prng_.below(static_cast<std::uint64_t>(load_.delay_max_ms))};
    }
    // Scattered over the key space, as keys of orders and users are.
    if (load_.unique_live > 0)
      options_.unique_key = fmt::format("order-{:016x}", sent_ * 0x9E3779B97F4A7C15ULL);
    return options_;
  }
  const std::string& queue() { return queues_[queues_.size() == 1 ? 0 : prng_.below(queues_.size())]; }
  void stamp(std::int64_t now) { std::memcpy(body_.data(), &now, sizeof now); }

  void enqueue() {
    const std::int64_t begun = now_ns();
    stamp(begun);
    window_.enter();
    SharedState* shared = load_.shared;
    clients_[sent_ % clients_.size()]->enqueue_async(
        queue(), body_, options(), [this, shared, begun](const EnqueueResult& result) {
          (result.ok() ? shared->confirmed : shared->refused).fetch_add(1, std::memory_order_relaxed);
          if (shared->measuring.load(std::memory_order_relaxed))
            shared->confirm_latency.add(now_ns() - begun);
          window_.leave();
        });
    ++sent_;
  }

  void enqueue_and_wait() {
    const std::int64_t begun = now_ns();
    stamp(begun);
    const EnqueueResult result = clients_.front()->try_enqueue(queue(), body_, options());
    (result.ok() ? load_.shared->confirmed : load_.shared->refused).fetch_add(1, std::memory_order_relaxed);
    if (load_.shared->measuring) load_.shared->confirm_latency.add(now_ns() - begun);
    ++sent_;
  }

  const Load load_;
  Window window_;
  Prng prng_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::string> queues_;
  std::string body_;
  EnqueueOptions options_;
  std::uint64_t sent_ = 0;
};

}  // namespace

void run_producer(const Load& load) { Producer(load).run(); }

}  // namespace jobq::bench
