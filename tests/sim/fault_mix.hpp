// What one run is like: how many of everybody, how large the limits, which faults and how often. All of it is drawn
// from the seed, each seed another mix (a quarter of the seeds has no faults at all: what fails there is no fault's).
//
// Rates are per mille unless their name says otherwise. Integers only: the same on every machine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "broker/config.hpp"
#include "libjobq/base/prng.hpp"

namespace jobq::sim {

enum class StoreKind : std::uint8_t { memory, lmdb };

struct FaultMix {
  // The cast.
  std::uint32_t producers = 1, workers = 1, operators = 1, queues = 1;
  std::uint64_t operations = 1'000;  // enqueues, and what operators ask
  StoreKind store = StoreKind::memory;

  // Time between two operations of a producer, at most; how long a handler runs, usually and at most.
  std::int64_t think_ms = 50, run_ms = 20, run_max_ms = 2'000;
  std::uint32_t credit = 4;
  bool extend_leases = true;
  std::uint32_t packed = 4;           // jobs enqueued at a time, at most
  std::int64_t deadline_ms = 30'000;  // of an enqueue

  // The jobs.
  std::uint32_t priorities = 1, types = 0, keys = 0;
  std::uint32_t delayed = 0, dated = 0, expiring = 0, grouped = 0, with_run_limit = 0, large = 0;
  // What handlers answer; the rest acks.
  std::uint32_t nacks = 0, rejects = 0, releases = 0, snoozes = 0;
  // What operators ask for, in shares of each other.
  std::uint32_t pauses = 0, cancels = 0, redrives = 0, purges = 0, settings = 0, looks = 10;
  // Of single jobs: now, and later; of a queue of its own, to which a job in eight goes; of workers; of tasks, whose redrives
  // are slow then.
  std::uint32_t retries = 0, put_offs = 0, removals = 0, drains = 0, task_cancels = 0;

  // The network.
  std::int64_t delay_ms = 1;        // each way, at most
  std::int64_t stall_ms = 0;        // now and then a link stands still for so long, at most; 0: never
  std::uint64_t reads_max = 5'000;  // frames that wait for a client that does not read, before it is cut off
  // Mean time between two of a kind over the whole run; 0: never.
  std::int64_t cut_every_ms = 0;     // a connection breaks, and both ends hear of it
  std::int64_t dark_every_ms = 0;    // a connection swallows everything until it is noticed
  std::int64_t outage_every_ms = 0;  // everybody is cut off for a while
  // Processes.
  std::int64_t freeze_every_ms = 0, freeze_max_ms = 0;  // stopped, and thawed
  std::int64_t die_every_ms = 0;                        // a worker or a producer is killed
  std::int64_t leave_every_ms = 0;                      // a worker drains and goes
  std::int64_t broker_crash_every_ms = 0, broker_stop_every_ms = 0, broker_down_max_ms = 0;
  std::int64_t broker_stall_every_ms = 0;  // the broker's process stands still
  std::uint32_t crash_at_commit = 0;       // of 100,000 commits: killed before, in the middle or after one
  std::uint32_t crash_at_send = 0;         // of 100,000 messages: killed between two
  // The store and the clock.
  std::int64_t commit_ms = 0;        // a commit takes so long, at most
  std::uint32_t failed_commits = 0;  // of 100,000
  std::int64_t disk_full_every_ms = 0;
  std::int64_t clock_jump_every_ms = 0;  // of the wall clock

  Config broker;  // limits, windows and defaults of queues: small ones make rare paths common

  [[nodiscard]] bool has_faults() const;
};

// Names of the kinds of faults that can be switched off: for `--without`, and for the minimiser.
const std::vector<std::string_view>& fault_names();
// False when there is no such fault.
bool switch_off(std::string_view fault, FaultMix* mix);

FaultMix draw_mix(std::uint64_t seed, std::uint64_t operations);
// Every field that is not at its default, on a few lines.
std::string describe(const FaultMix& mix);

// An independent stream of random numbers for each member of the cast, so that taking one away leaves the others as
// they were.
Prng stream(std::uint64_t seed, std::uint64_t member);

}  // namespace jobq::sim
