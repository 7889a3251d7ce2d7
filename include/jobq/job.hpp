// What a handler is given: the job it runs, and what it may ask for.
//
//   worker.on<SendReceipt>([](const SendReceipt& receipt, jobq::Context& job) {
//     if (!known(receipt.to)) return job.reject("no such customer");     // never again: dead, with this text
//     if (mail_server_busy()) return job.snooze(30s);                    // later; counts nothing
//     for (const Part& part : parts(receipt)) {
//       if (job.stop_requested()) return job.release();                  // handed back untouched; counts nothing
//       send(part);
//     }
//   });                                                                  // returning: ack. throwing: nack
//
// What ends a handler: return is an ack, also after a stop was requested: a handler that stops early says so
// by release(), snooze() or an exception. An exception is a nack with what() as the attempt's error; but when
// the stop was asked for by a drain, it hands the job back uncounted. The first of snooze, reject and release
// decides, whatever the handler does afterwards.
//
// A std::stop_callback on the stop token runs on the library's I/O thread: keep it short.
//
// Thread-safety: all members may be called from any thread while the handler runs. Ownership: the worker owns
// the Context and the bytes that its views point to; neither outlives the handler.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "jobq/export.hpp"
#include "jobq/options.hpp"

namespace jobq {

// Why a handler is asked to stop.
enum class StopReason : std::uint8_t {
  none = 0,
  drain = 1,         // the worker stops, and the time for that is nearly over
  lost_lease = 2,    // the job is not this worker's any more, or nothing proves that it still is
  max_run_time = 3,  // the attempt has used its max_run_time
  cancel = 4,        // somebody asked for the job to be cancelled
};

JOBQ_API const char* to_string(StopReason reason);

class JobRun;  // the library's own side of it

class JOBQ_API Context {
 public:
  explicit Context(JobRun* run) : run_(run) {}
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // "j1a7": printable, at most 16 bytes, never reused.
  [[nodiscard]] std::string_view id() const;
  [[nodiscard]] std::string_view queue() const;
  [[nodiscard]] std::string_view type() const;
  [[nodiscard]] std::string_view body() const;
  [[nodiscard]] int priority() const;

  // Failed attempts so far + 1, and how many there may be.
  [[nodiscard]] std::uint32_t attempt() const;
  [[nodiscard]] std::uint32_t max_attempts() const;

  [[nodiscard]] const Headers& headers() const;
  // The value of the first header of this name; nullopt when there is none.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const;

  // When the broker accepted the job, on its clock.
  [[nodiscard]] WallTime enqueued_at() const;

  // When max_run_time is used up; time_point::max() when there is none. The stop token is triggered then.
  [[nodiscard]] std::chrono::steady_clock::time_point deadline() const;
  // Until when the job is surely this worker's: counted from the sending of the last extension that the
  // broker confirmed. Moves on by itself while the library extends the lease.
  [[nodiscard]] std::chrono::steady_clock::time_point lease_until() const;

  [[nodiscard]] std::stop_token stop_token() const;
  [[nodiscard]] bool stop_requested() const { return stop_token().stop_requested(); }
  [[nodiscard]] StopReason stop_reason() const;

  // Asks for a full lease from now. Returns at once: false when the lease is known to be lost, else true;
  // lease_until() shows when it was confirmed. Needed only with WorkerOptions::extend_leases off.
  bool extend();

  // Again after this long; counts nothing, but is bounded by the broker (1,000 times) and by expiry.
  void snooze(std::chrono::milliseconds delay);
  // Dead at once, with this error.
  void reject(std::string_view error);
  // Back to its place in the queue, untouched; counts nothing.
  void release();
  // A failed attempt with this error, like an exception; `delay` over zero replaces the queue's backoff.
  void fail(std::string_view error, std::chrono::milliseconds delay = {});

 private:
  JobRun* run_;
};

}  // namespace jobq
