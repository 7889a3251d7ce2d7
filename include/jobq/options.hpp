// Every option of the library: its default, its unit, and what goes wrong at either end. All are aggregates
// for designated initialisers:
//
//   client.enqueue("receipts", receipt, {.delay = 5s, .unique_key = "receipt:42"});
//   jobq::Worker worker{endpoint, {.queues = {{"mail", 3}, "reports"}, .concurrency = 8}};
//
// Durations are std::chrono (counted in milliseconds); sizes are bytes. A value out of its range is refused
// when it is used (bad_argument and its neighbours), never cut off in silence.
//
// Thread-safety: plain values.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace jobq {

class Runtime;

// Headers of a job, in order: at most 64, names and values together at most 4 KiB.
using Headers = std::vector<std::pair<std::string, std::string>>;

// A wall-clock instant: what std::chrono's system clock gives for now() converts to it.
using WallTime = std::chrono::sys_time<std::chrono::nanoseconds>;

// A line of the library's log: no newline at its end. May be called from the I/O thread and from others at
// once.
using LogSink = std::function<void(std::string_view line)>;

struct ClientOptions {
  // How long a call may take when it does not say so itself, counted from the call. Shorter: a restart of the
  // broker (about a second) shows as errors. Longer: request threads pile up while there is no broker.
  std::chrono::milliseconds timeout{5000};

  // What may wait in this client, unsent or unanswered, over all threads. When either is reached a call
  // answers buffer_full at once. Smaller: peaks are refused. Larger: more memory, and more waits for longer
  // when it cannot be done in time anyway.
  std::size_t buffer_jobs = 100'000;
  std::size_t buffer_bytes = std::size_t{64} << 20;

  // What waits at the same time travels in one message, which is what makes many small enqueues cheap; a job that
  // comes alone is not held back for that. Off: every call is a message of its own.
  bool pack = true;

  // How long the destructor waits for the answers of what was enqueued by future or callback. What is
  // unanswered then completes as `closed`.
  std::chrono::milliseconds linger{1000};

  // The I/O thread to share; none: one of its own.
  std::shared_ptr<Runtime> runtime{};

  // Connection events (reached, lost, refused). None: silent; errors carry the reason anyway.
  LogSink log{};
};

struct EnqueueOptions {
  // The job type of a raw body: 1 to 64 of [A-Za-z0-9._-]; empty: no type. For a typed body: replaces
  // job_type<T>().
  std::string type{};

  // 0 to 9, 9 first. Unset: the queue's default_priority (5).
  std::optional<int> priority{};

  // Not to be started before this long from now. Up to ten years; not together with run_at.
  std::chrono::milliseconds delay{};

  // Not to be started before this date on the broker's wall clock.
  std::optional<WallTime> run_at{};

  // Not to be started (or retried) after this long from now; the job then leaves as expired. Zero: never.
  std::chrono::milliseconds expires_in{};

  // Failed attempts until the job is dead: 1 to 1000. Zero: the queue's (25).
  std::uint32_t max_attempts = 0;

  // The longest that one attempt may run: up to a week. Zero: the queue's.
  std::chrono::milliseconds max_run_time{};

  // At most one live job of the queue has this key: up to 256 bytes; empty: none. A second enqueue answers
  // `duplicate` with the id of the first. Also what protects across restarts of the producing process.
  std::string unique_key{};

  // How long the key stays taken after the job has ended.
  std::chrono::milliseconds unique_for{};

  Headers headers{};

  // How long this call may take. Unset: ClientOptions::timeout.
  std::optional<std::chrono::milliseconds> timeout{};
};

struct ManyOptions {
  // All jobs of the call are stored or none: one refusal refuses the others with `not_done`. The call must
  // then fit into one message (10,000 jobs and the broker's message size, 8 MiB by default).
  bool all_or_nothing = false;

  // How long the call may take as a whole. Unset: ClientOptions::timeout.
  std::optional<std::chrono::milliseconds> timeout{};
};

// A queue that a worker serves and how often it is its turn: 1 to 100. With weights 3 and 1 and work in both
// queues, three jobs come from the first for each of the second.
struct WorkerQueue {
  WorkerQueue(const char* queue_name) : name(queue_name) {}             // NOLINT(google-explicit-constructor)
  WorkerQueue(std::string queue_name) : name(std::move(queue_name)) {}  // NOLINT(google-explicit-constructor)
  WorkerQueue(std::string queue_name, std::uint32_t its_weight)
      : name(std::move(queue_name)), weight(its_weight) {}

  std::string name;
  std::uint32_t weight = 1;
};

struct WorkerOptions {
  // At least one. A queue comes into being when it is first served, unless the broker has auto_create off.
  std::vector<WorkerQueue> queues{};

  // Threads that run handlers, and with `prefetch` the number of jobs that this worker holds at most.
  std::size_t concurrency = 1;

  // Jobs held beyond those that run, so that the next one is here when a handler is done. 0: each job waits
  // in the broker until a thread is free, which spreads work best. More: higher rate with jobs under ~1 ms,
  // but a job may wait here behind a slow one while another worker is idle.
  std::size_t prefetch = 0;

  // The most bytes of bodies in this worker's hands; 0: no limit by bytes.
  std::uint64_t credit_bytes = 0;

  // Stopping (SIGTERM, stop()): jobs that run may finish until this long after; the rest is handed back
  // without spending an attempt. Must be under what your process manager allows (systemd 90 s, Kubernetes 30
  // s).
  std::chrono::milliseconds drain_timeout{25'000};

  // So long before the end of the drain, and after max_run_time, stop tokens are triggered.
  std::chrono::milliseconds stop_grace{5000};

  // Extend leases while handlers run, at a third of the lease. Off: a handler that runs longer than the
  // queue's lease must call Context::extend() itself or the job is given to another worker.
  bool extend_leases = true;

  // run() handles SIGTERM and SIGINT: the first begins the drain, a second one hands everything back at once (what comes
  // within 0.3 s of the first is the same signal said again: timeout(1) sends two).
  // The handlers that were installed before are put back when run() returns.
  bool handle_signals = true;

  // Shown by `jobq stats` and in the history of each attempt. Empty: the program's name.
  std::string name{};

  // The version of your program, shown with the name. Empty: none.
  std::string build{};

  std::shared_ptr<Runtime> runtime{};

  // Connection events and jobs that could not be handled. None: one line each on stderr.
  LogSink log{};
};

}  // namespace jobq
