// For the tests of programs that use jobq: a broker inside the test, with time that the test moves and faults that it
// switches on. Link jobq-testing beside jobq (`pkg-config jobq-testing`).
//
//   jobq::testing::Broker broker;
//   jobq::Client client{broker.endpoint(), {.runtime = broker.runtime()}};
//   jobq::Worker worker{broker.endpoint(), {.queues = {"receipts"}, .handle_signals = false, .runtime = broker.runtime()}};
//   worker.on<SendReceipt>(mail_receipt);
//   jobq::testing::RunningWorker running = broker.start(worker);
//
//   client.enqueue("receipts", SendReceipt{"a@example.org", 42}, {.delay = 1h});
//   broker.advance(59min);   // nothing yet
//   broker.advance(1min);    // has been mailed when this returns
//   CHECK(broker.queue("receipts").acked_total == 1);
//
// It is the real thing: Client, Worker, protocol, the broker's loop and engine. Only the store is in memory, the
// sockets are gone, and every clock of both sides is the test's. The endpoint is only a name: with this runtime, any
// leads here, so that code under test may keep its own.
//
// TIME stands still, and goes on
//   - in advance(): from one due thing to the next, so that whatever had to happen on the way has happened in its order.
//     It never moves on while a handler runs; a handler that takes time says so with work_for().
//   - by itself while a thread is blocked in a call of Client, or a worker drains, and nothing else can end that: a call
//     that no broker answers reaches its deadline at once.
// A Context's deadline() and lease_until() are in this time: compare them with steady_now().
//
// Thread-safety: all members from any thread, but advance(), settle() and the looking from no handler and no callback:
// these would wait for themselves. Units: std::chrono. Ownership: the broker first, then clients and workers: they are to go
// before it; what is still there then finds no broker any more. Errors: Error (jobq/error.hpp).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "jobq/job.hpp"
#include "jobq/options.hpp"
#include "jobq/runtime.hpp"
#include "jobq/worker.hpp"

namespace jobq::testing {

struct BrokerOptions {
  // What the broker's clocks show at the beginning: 2030-01-01T00:00:00Z.
  WallTime start_at{std::chrono::seconds{1'893'456'000}};

  // Of the random pauses before retries: the same seed, the same pauses.
  std::uint64_t seed = 1;

  // How long, in real time, a handler may run before advance() and settle() take it that it hangs and throw (timed_out).
  // Also how long wait_for_workers() waits.
  std::chrono::milliseconds patience{60'000};
};

// What `jobq stats` shows of a queue. All zero for a queue that does not exist.
struct QueueCounts {
  std::uint64_t ready = 0, scheduled = 0, leased = 0, dead = 0;
  std::uint64_t enqueued_total = 0, acked_total = 0, failed_total = 0, dead_total = 0;
  std::uint64_t expired_total = 0, cancelled_total = 0, purged_total = 0;
  bool paused = false;
};

// What `jobq job show` shows of a job.
struct JobView {
  std::string id, queue, type, body;
  std::string state;  // scheduled, ready, leased, dead or gone
  std::string exit;   // gone: acked, cancelled, expired, purged or dropped
  int priority = 0;
  std::uint32_t attempt = 0;        // failures so far + 1
  std::vector<std::string> errors;  // of its failed attempts, the oldest first
};

// A worker in a thread of its own, from Broker::start(): stopped and waited for at the end of its life.
class JOBQ_API RunningWorker {
 public:
  RunningWorker(RunningWorker&& other) noexcept;
  RunningWorker& operator=(RunningWorker&&) = delete;
  ~RunningWorker();

  // Drains it and returns when it has ended. Throws what its run() threw.
  DrainReport stop();

 private:
  friend class Broker;
  struct State;
  explicit RunningWorker(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class JOBQ_API Broker {
 public:
  explicit Broker(BrokerOptions options = {});
  ~Broker();
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  // For the constructors and the options of clients and workers.
  [[nodiscard]] std::string endpoint() const;
  [[nodiscard]] std::shared_ptr<Runtime> runtime() const;
  // Calls run() in a thread; returns when the worker has been registered and everything that is due has been done.
  RunningWorker start(Worker& worker);
  // For code that makes and runs its workers itself: returns when so many are registered. Throws timed_out when they are
  // not after the patience of real time.
  void wait_for_workers(std::size_t count);

  // ---- time

  // Moves time. When it returns everything that became due on the way is done, and no handler runs.
  void advance(std::chrono::milliseconds span);
  // advance(0): everything that is due now is done, and no handler runs.
  void settle();
  // In a handler: takes that long. Returns at once when the job is asked to stop: false.
  bool work_for(Context& job, std::chrono::milliseconds span);
  [[nodiscard]] WallTime now() const;
  [[nodiscard]] std::chrono::steady_clock::time_point steady_now() const;

  // ---- looking: everything that is due now is done first, but for handlers that run

  [[nodiscard]] QueueCounts queue(std::string_view name);
  // Throws no_such_job for an id that was never given out.
  [[nodiscard]] JobView job(std::string_view id);
  // The dead jobs of a queue, in the order of their enqueue.
  [[nodiscard]] std::vector<JobView> dead(std::string_view queue);
  // A setting of a queue (docs/configuration.md), as `jobq queue set`: set("receipts", "max_attempts", 3). Makes the queue.
  void set(std::string_view queue, std::string_view setting, std::int64_t value);
  void redrive(std::string_view queue);  // all dead jobs of the queue
  void cancel(std::string_view id);

  // ---- faults: each stays until it is switched off

  // Enqueues are refused with disk_full, as when the broker's disk has no room; all else works. A queue that is full:
  // set(queue, "max_jobs", 1).
  void refuse_enqueues(bool on);
  // Every message arrives this much later, each way; zero: at once.
  void delay_messages(std::chrono::milliseconds each_way);
  // Workers believe that their leases are extended, and the broker does not: a handler that runs longer than the lease
  // (30 s) loses its job, which is given out again.
  void lapse_leases(bool on);
  // No client and no worker reaches the broker; connections that are open end. On for longer than the session's grace
  // (10 s), the jobs of workers have crashed.
  void unreachable(bool on);
  // The broker is killed, as by kill -9; what it has confirmed is on its disk. restart() starts it again.
  void crash();
  // The broker carries out the next enqueue or outcome that reaches it, and is killed before it can answer.
  void crash_after_next_commit();
  void restart();
  [[nodiscard]] bool running();

 private:
  struct Inside;
  std::shared_ptr<Inside> inside_;
};

}  // namespace jobq::testing
