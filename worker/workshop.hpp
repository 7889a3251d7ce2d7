// What all slots share: the options, how processes are started and killed, the counts.
//
// Thread-safety: any thread. Ownership: main() owns it; it outlives every slot.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "jobq/job.hpp"
#include "worker/environment.hpp"
#include "worker/options.hpp"
#include "worker/process.hpp"
#include "worker/spawner.hpp"
#include "worker/verdict.hpp"

namespace jobq::runner {

struct Totals {
  std::atomic<std::uint64_t> acked{0};
  std::atomic<std::uint64_t> failed{0};
  std::atomic<std::uint64_t> rejected{0};
  std::atomic<std::uint64_t> handed_back{0};
  std::atomic<std::uint64_t> running{0};
};

struct Workshop {
  Workshop(Options its_options, int guardian_fd);

  const Options options;
  const std::vector<std::string> inherited;  // environment of every command
  ProcessGroups groups;
  Spawner spawner;
  Totals totals;
  Descriptor null;  // /dev/null

  // Set before everything is killed on the second signal: how commands end then says nothing about their jobs.
  std::atomic<bool> handing_back{false};

  // From SIGTERM to SIGKILL when a drain ends it: before the library hands the job to somebody else.
  [[nodiscard]] milliseconds drain_grace() const;
  // What the library is told, so that this holds.
  [[nodiscard]] milliseconds stop_grace() const;
};

// "j1a (receipts, SendReceipt) attempt 2"
std::string name_of(const Context& job);
// Now, on the clock that JOBQ_DEADLINE is on.
std::int64_t unix_seconds();
JobFacts facts_of(const Context& job, milliseconds max_run);
StopCause cause_of(StopReason reason);

// Settles the job, counts and logs it.
void settle(Context* job, const Verdict& verdict, milliseconds took, Workshop* shop);
// A command that could not be started: not the job's fault, unless it is too large for the system.
void settle_not_started(Context* job, int error, std::size_t variables_bytes, Workshop* shop);
// Why a program cannot be started, with the remedy.
std::string start_error(const std::string& path, int error);

}  // namespace jobq::runner
