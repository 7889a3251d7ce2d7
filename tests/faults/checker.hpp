// Judges a history (history.hpp) against the dump of the store at its end.
//
//   I1  no loss         every confirmed job is in the store, or there is a reason why not
//   I2  no phantom      every job in the store or delivered was asked for
//   I3  intact          what is delivered and stored is what was sent
//   I4  ack is final    no delivery after a confirmed ack, and not in the store
//   I5  one lease       no two holders at one time; tokens rise (in the broker's own lines too, where there are any)
//   I6  fencing         an answer under an old token is refused
//   I7  attempts        counted without gaps, not above the maximum, and dead after the last
//   I8  not early       no delivery before a delay or a backoff is over
//   I9  order           priority, then enqueue order: by the broker's own lines where the history has them; otherwise
//                       only where one worker with one slot served a queue and nothing crashed (elsewhere a client
//                       cannot see the order of grants)
//   I10 reasons         a dead job says why, and has its attempts
//   I11 unique keys     never two live jobs with one key; a duplicate names the holder
//   I12 counts          the broker's last counts are the dump's
//   I13 idempotent      one enqueue makes one job
//   I14 atomic groups   all or nothing
//   I15 durable first   nothing is said before the commit that it rests on (the broker's own lines)
//   I16 read your write a confirmed job can be looked up
//   I17 not granted     cancelled, expired, and in a paused queue
//   I18 liveness        once healed, everything is over in the time that was set
//   I19 declared death  a broker that ends by itself does so with a documented code, and with a reason
//   I20 restarts        no error reaches an application whose deadline is longer than what was in its way
//   I21 clock           a date waits for the wall clock, a delay does not
//   I22 same seed       gives the same run
//
// I15 and I18 to I22 judge histories that have such lines (history.hpp); in others there is nothing to judge. What no
// history shows is judged where it can be seen: of I12 the counts at every commit (tests/sim/ledger.cpp, and the engine's
// own checks), of I18 the rate after a healing (tests/soak.sh hostile), of I19 memory and descriptors (tests/e2e/,
// tests/soak.sh connections) and file sizes (bench/churn).
//
// Times: a client's "ok" is later, and its "invoke" earlier, than what the broker did; the rules take the
// side on which nothing innocent is accused. slack_ms is added where two processes' messages cross on the way.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/faults/history.hpp"

namespace jobq::faults {

struct CheckerOptions {
  std::int64_t early_slack_ms = 50;  // between what a client measures and what the broker does
  std::int64_t lease_slack_ms = 50;  // how much later than the broker a holder may count the end of its lease
  std::int64_t crossing_slack_ms = 250;
  bool drained = false;  // the run ended with a drain: only dead jobs may be left
};

struct Violation {
  std::string invariant;  // "I1"
  std::string job;        // may be empty
  std::string text;
};

struct Verdict {
  std::vector<Violation> violations;
  std::uint64_t events = 0;
  std::uint64_t confirmed = 0;  // enqueues answered ok with a job of their own
  std::uint64_t unknown = 0;    // enqueues without a known end
  std::uint64_t recovered = 0;  // of these, the ones that turned out to have happened
  std::uint64_t lost = 0;       // I1: lost_prefix + lost_middle + lost_postfix, per producer
  std::uint64_t lost_prefix = 0, lost_middle = 0, lost_postfix = 0;
  std::uint64_t phantom = 0;    // I2
  std::uint64_t delivered = 0;  // deliveries
  std::uint64_t run_again = 0;  // jobs delivered more than once (allowed; seldom is better)
  std::uint64_t acked = 0;      // jobs with a confirmed ack
  std::uint64_t in_store = 0;

  [[nodiscard]] bool ok() const { return violations.empty(); }
};

using Dump = std::map<std::string, DumpedJob>;

Verdict check_history(const std::vector<Event>& history, const Dump& dump,
                      const CheckerOptions& options = {});

// The counts, the first violations, and the whole story of the first job that one names.
std::string report(const Verdict& verdict, const std::vector<Event>& history, const Dump& dump);

}  // namespace jobq::faults
