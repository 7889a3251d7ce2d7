// What the commands that work on a store without a broker (check, restore, compact) have to say in the same way.
//
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "broker/store/offline.hpp"
#include "cli/document.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {

// A line of the checker for people: what is wrong and where.
std::string problem_text(const Json& problem);

// Prints problems as they are found, of each kind the first ones: one damaged row may be a problem of ten thousand jobs.
class ProblemLines {
 public:
  void show(const Json& problem);
  // How many of each kind were not printed.
  void show_rest() const;

 private:
  std::map<std::string, std::uint64_t> seen_;  // what is wrong, without the job -> how often
};

// "2 jobs in 4 queues: 0 ready, 2 scheduled, 0 leased, 0 dead"
std::string counts_text(const CheckCounts& counts);
Json counts_json(const CheckCounts& counts);
// When the last commit was, for a backup: "2026-11-22 14:30:00 UTC".
std::string as_of_text(const CheckCounts& counts);

// Options that show progress on a terminal, stop on Ctrl-C and print problem lines to stderr.
// REQUIRES: catch_interrupts() was called. *progress outlives the options.
OfflineOptions offline_options(Progress* progress);

// Says why on stderr; the exit code.
int offline_failure(const Status& status, StoreProblem problem);

}  // namespace jobq::cli
