// Why and when the process of a job has to end before it ends by itself: the job's stop token, --max-run, and the signals
// that follow from either. The two ways of running a job (one_shot.cpp, persistent_run.cpp) watch their process with it.
//
// Thread-safety: a value of one thread. Time is an argument.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "worker/escalation.hpp"
#include "worker/workshop.hpp"

namespace jobq::runner {

class RunEnd {
 public:
  using Time = Escalation::Time;

  // `job` and `shop` outlive it.
  RunEnd(const Context* job, const Workshop* shop, Time begun);

  // Looks at the job and at the clock; to be called after every wait.
  void look(Time now);

  // The signal to send now, each once.
  std::optional<int> due(Time now) { return escalation_.due(now); }

  // For poll(): milliseconds until there is something to look at, by `sooner` at the latest; -1: for ever.
  [[nodiscard]] int wait_ms(Time now, std::optional<Time> sooner = std::nullopt) const;

  [[nodiscard]] const Escalation& escalation() const { return escalation_; }
  [[nodiscard]] StopCause cause() const { return escalation_.cause(); }
  // What an ended process that was asked to stop comes to; `errors` is the end of its stderr.
  [[nodiscard]] Verdict verdict(std::string_view errors) const;

 private:
  const Context* job_;
  const Workshop* shop_;
  std::optional<Time> run_until_;
  Escalation escalation_;
  std::string limit_ = "its max_run_time";
};

}  // namespace jobq::runner
