// The working side: takes jobs from queues and runs handlers.
//
//   jobq::Worker worker{"tcp://127.0.0.1:7710", {.queues = {"receipts"}, .concurrency = 8}};
//   worker.on<SendReceipt>([](const SendReceipt& r, jobq::Context& job) { mail(r); });   // return: ack; throw: nack
//   worker.run();                                                                        // drains on SIGTERM
//
// What a worker promises: a job is run at least once and never given up in silence. Its outcome is sent, and
// sent again after each reconnect, until the broker has answered it. While the broker is away handlers go on;
// the worker claims their jobs when it is back. Leases are extended while handlers run; a handler whose job
// is lost is asked to stop through its stop token (jobq/job.hpp).
//
// A job whose type has no handler: with an on_any() handler, that one runs. Without, only the types that have
// one are asked for, and the others wait for another worker, visible in `jobq stats`. A body that does not
// decode as the handler's type is rejected (dead at once, with the reason), since it would fail every time.
//
// THREADS. on() before run(), from one thread. run() from one thread, once. stop() from any. Handlers run on
// `concurrency` threads of the worker's own, several at a time, also the same handler.
// OWNERSHIP. Handlers live as long as the worker and as long as a thread still runs one: a handler that
// ignores its stop token to the end of the drain is left behind running, its job handed back
// (DrainReport::abandoned); end the process then.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "jobq/body.hpp"
#include "jobq/error.hpp"
#include "jobq/export.hpp"
#include "jobq/job.hpp"
#include "jobq/options.hpp"

namespace jobq {

// How a worker's life ended.
struct DrainReport {
  std::size_t handed_back =
      0;                      // jobs that went back unspent: not started, or not done at the end of the drain
  std::size_t abandoned = 0;  // handlers that were still running when run() returned
  std::size_t unanswered = 0;  // outcomes that no broker has answered: those jobs will run again
};

class WorkerImpl;

class JOBQ_API Worker {
 public:
  using Handler = std::function<void(Context& job)>;

  // Throws Error: bad_endpoint, bad_argument (an option out of its range, no queue).
  explicit Worker(std::string endpoint, WorkerOptions options);
  // When run() was called it must have returned.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The handler of jobs of T's type, with the body as a T. `handler`: void(const T&, Context&).
  // Throws Error (bad_argument) when the type has a handler already or run() has begun.
  template <TypedBody T, typename F>
  void on(F handler) {
    on(job_type<T>(), [handler = std::move(handler)](Context& job) mutable {
      std::optional<T> body;
      try {
        body.emplace(unpack_body<T>(job.body()));
      } catch (const Error& error) {
        return job.reject(error.what());
      }
      handler(*body, job);
    });
  }
  // The handler of a type whose bodies are raw: Context::body().
  void on(std::string_view type, Handler handler);
  // The handler of every type that has none of its own, and of jobs without a type.
  void on_any(Handler handler);

  // Connects, works until stop(), a signal or an operator's `jobq worker drain`, drains, says goodbye. Waits for a
  // broker that is not there. Throws Error when there is no handler (bad_argument) and when the broker refuses the
  // registration for good (for example bad_queue_name, no_such_queue, unsupported_version), after a drain.
  DrainReport run();

  // Begins the drain and returns at once; a second call hands everything back at once. Before run(): run()
  // returns at once.
  void stop();

  // Whether the broker has accepted the registration on the connection that is up now.
  [[nodiscard]] bool registered() const;

  // For watchdogs: asks the I/O thread for a turn and says when its last one was. One that hangs is seen by a time
  // that stays behind. Before run(): time_point::min().
  [[nodiscard]] std::chrono::steady_clock::time_point last_turn() const;

 private:
  std::unique_ptr<WorkerImpl> impl_;
};

}  // namespace jobq
