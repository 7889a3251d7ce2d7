// The main thread's loop: starts processes for the slots, hears signals, feeds the watchdog, and buries the orphans that
// commands have left behind.
//
// Thread-safety: the constructor and loop() on the main thread; finished() from any.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>

#include "jobq/worker.hpp"
#include "libjobq/base/supervisor.hpp"
#include "libjobq/worker/stop_wishes.hpp"
#include "worker/descriptor.hpp"
#include "worker/workshop.hpp"

namespace jobq::runner {

class PersistentCrew;

// Keeps the signals that Duty hears from every thread. REQUIRES: no other thread lives yet.
void block_signals();

class Duty {
 public:
  // `crew`: null without --persistent. Throws Error (io_error) without descriptors.
  Duty(Workshop* shop, Worker* worker, PersistentCrew* crew, pid_t guardian);

  // Until finished(), and the persistent processes are gone.
  void loop();
  // The worker's run() has returned.
  void finished();

  [[nodiscard]] Supervisor* supervisor() { return &supervisor_; }

 private:
  using Clock = std::chrono::steady_clock;

  void hear_signals();
  void stop();
  void notice_missing_broker();
  void feed(Clock::time_point now);
  void bury();
  [[nodiscard]] int wait_ms(Clock::time_point now) const;

  Workshop* shop_;
  Worker* worker_;
  PersistentCrew* crew_;
  pid_t guardian_;
  Supervisor supervisor_;
  Descriptor signals_;
  Descriptor finished_;
  bool run_over_ = false;
  StopWishes stops_;
  bool burying_ = false;  // something that is ours hides what may lie behind it
  std::string status_;
  Clock::time_point feed_at_;
  std::optional<Clock::time_point> notice_at_;
};

}  // namespace jobq::runner
