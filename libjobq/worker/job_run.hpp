// One job in the hands of a worker, from its delivery to the end of its handler: what Context shows, and what
// the handler decides.
//
// Thread-safety: all members may be called from many threads. Ownership: shared by the I/O thread and the
// thread that runs the handler.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "jobq/job.hpp"
#include "libjobq/worker/worker_core.hpp"

namespace jobq {

// A time of the library's clocks as the steady clock's: TimeMs counts its milliseconds from 1 (monotonic_now()).
inline std::chrono::steady_clock::time_point steady_time(TimeMs time) {
  return std::chrono::steady_clock::time_point{std::chrono::milliseconds{time.ms - 1}};
}

class JobRun {
 public:
  using Clock = std::chrono::steady_clock;

  using Extend = std::function<void(const protocol::LeaseRef&)>;

  // `extend`: passes the wish on to the state machine; one for all jobs of a worker.
  JobRun(DeliveredJob job, TimeMs owned_until, std::shared_ptr<const Extend> extend);
  // Makes it the run of another job. REQUIRES: nobody else has it any more, and its handler was not asked to stop, nor
  // asked whether it was.
  void reuse(DeliveredJob job, TimeMs owned_until);
  [[nodiscard]] bool reusable() const;

  // Set before its handler begins, and not changed until all is over.
  DeliveredJob job;
  std::string id;
  Headers headers;

  // A handler begins with it: its time counts from here.
  void begin(Clock::time_point now);

  // ---- what the handler decides; the first one stands
  void decide(protocol::OutcomeKind kind, std::string_view text, std::chrono::milliseconds delay);
  [[nodiscard]] std::optional<JobOutcome> decided() const;

  // ---- the lease
  void request_stop(StopReason reason, bool lost);
  [[nodiscard]] StopReason stop_reason() const { return reason_.load(); }
  [[nodiscard]] std::stop_token stop_token();
  void owned_until(TimeMs until) { owned_until_ms_.store(until.ms); }
  [[nodiscard]] TimeMs owned_until() const { return TimeMs{owned_until_ms_.load()}; }
  [[nodiscard]] Clock::time_point deadline() const;
  bool extend();

 private:
  const std::shared_ptr<const Extend> extend_;
  std::stop_source stop_{std::nostopstate};  // made when somebody asks for it: most handlers are done before
  std::atomic<StopReason> reason_{StopReason::none};
  std::atomic<bool> lost_{false};
  std::atomic<std::int64_t> owned_until_ms_;
  mutable std::mutex mutex_;
  Clock::time_point deadline_ = Clock::time_point::max();
  std::optional<JobOutcome> decided_;
};

}  // namespace jobq
