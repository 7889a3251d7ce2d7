// The nouns of the engine and the store: what a job, a lane, a queue's settings and counters are.
//
// A *lane* is one queue at one priority and type. Ready jobs are ordered within a lane by id (arrival order),
// which is all the order a store has to be able to produce.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>

#include "libjobq/base/id.hpp"
#include "libjobq/base/time.hpp"
#include "libjobq/protocol/limits.hpp"
#include "libjobq/protocol/message.hpp"

namespace jobq {

using protocol::JobState;

// Numbers of queues and types: given out in order, durable, never reused. Type 0 is "no type". Queue 0 is
// "none".
using QueueNo = std::uint32_t;
using TypeNo = std::uint32_t;

struct Lane {
  QueueNo queue = 0;
  TypeNo type = 0;
  std::uint8_t priority = 0;
  auto operator<=>(const Lane&) const = default;
};

// Which clock a timer is compared with (libjobq/base/time.hpp).
enum class Clock : std::uint8_t { engine = 0, wall = 1 };

// DO NOT RENUMBER: stored.
enum class TimerKind : std::uint8_t {
  due = 0,          // a scheduled job becomes ready
  expiry = 1,       // a waiting job expires
  unique_hold = 2,  // a unique key kept after its job's end becomes free
};

struct TimerKey {
  Clock clock = Clock::engine;
  TimeMs at{};
  JobId job{};
  TimerKind kind = TimerKind::due;
  auto operator<=>(const TimerKey&) const = default;  // the firing order within a clock
};

// What is durable about a job beyond its immutable record and its state, written only on the paths where
// something unusual happened (a failure, a crash, a release, a snooze, a redrive). Absent means all zero.
struct JobProgress {
  LeaseNo lease_no = 0;  // the last one granted; exact for jobs that are not leased
  std::uint32_t failures = 0;
  std::uint32_t crashes = 0;  // since the last outcome that was not one
  std::uint32_t snoozes = 0;
  std::uint32_t redrives = 0;
  std::uint32_t attempts_recorded = 0;  // entries of attempt history written so far
  TimeMs ready_since{};                 // when it last became (or will become) ready; zero: see JobMeta
  bool operator==(const JobProgress&) const = default;
};

// What the engine needs to know of a job to decide about it. Never the body.
struct JobMeta {
  JobId id{};
  Lane lane{};
  std::uint32_t bytes = 0;  // body and headers: what credit and max_bytes count
  TimeMs enqueued_at{};     // engine clock
  TimeMs expires_at{};      // engine clock; zero: never
  TimeMs due{};             // scheduled: when it becomes ready, on due_clock
  Clock due_clock = Clock::engine;
  bool has_unique_key = false;
  bool has_progress = false;       // a progress record is stored
  std::uint16_t max_attempts = 0;  // 0: the queue's
  std::uint32_t max_run_ms = 0;    // 0: the queue's
  std::int64_t unique_for_ms = 0;
  JobProgress progress{};
};

// Per-queue settings, live and durable. A field's comment says what goes wrong at either end.
struct QueueSettings {
  std::uint32_t max_attempts = 25;                   // 1: never retried. Failures up to here, then dead
  std::int64_t backoff_min_ms = 1'000;               // too low: a broken dependency is hammered
  std::int64_t backoff_max_ms = 12LL * 3600 * 1000;  // too high: nobody notices that it works again
  std::uint32_t backoff_factor = 2;                  // the ceiling is multiplied by this with every failure
  std::int64_t lease_ms =
      30'000;  // too low: a slow network lapses leases; too high: a hung worker is noticed late
  std::int64_t session_grace_ms =
      10'000;  // how long a lost worker may take to come back before its jobs count as crashed
  std::uint32_t max_run_ms = 0;   // 0: no limit
  std::uint32_t crash_limit = 3;  // crashes in a row before the job is put among the dead
  std::uint8_t default_priority = limits::kPriorityDefault;
  std::uint64_t max_jobs = 0;   // waiting and leased jobs; 0: no limit
  std::uint64_t max_bytes = 0;  // of their bodies and headers; 0: no limit
  std::uint32_t history_count =
      0;  // finished jobs remembered durably; 0: none (the last 1,000 in memory only)
  std::int64_t history_age_ms = 0;       // and not longer than this; 0: no limit by age
  std::int64_t dead_retention_ms = 0;    // 0: dead jobs are kept for ever
  std::int64_t target_wait_ms = 60'000;  // oldest ready job above this: a problem in `jobq stats`
  bool paused = false;
  bool operator==(const QueueSettings&) const = default;
};

// Counted in the transaction that changes what they count. For every queue and commit:
//   enqueued = ready + scheduled + leased + dead + acked + expired + cancelled + purged + dropped
struct QueueCounters {
  std::uint64_t ready = 0, scheduled = 0, leased = 0, dead = 0;  // now
  std::uint64_t bytes = 0;                                       // of ready, scheduled, leased
  std::uint64_t enqueued_total = 0;
  std::uint64_t acked_total = 0, expired_total = 0, cancelled_total = 0, purged_total = 0, dropped_total = 0;
  std::uint64_t failed_total = 0;  // attempts that ended in nack, exception, timeout
  std::uint64_t crashed_total = 0, lapsed_total = 0;
  std::uint64_t released_total = 0, snoozed_total = 0;
  std::uint64_t dead_total = 0, redriven_total = 0;
  std::uint64_t duplicate_total = 0;
  std::uint64_t finished_seq = 0;  // numbers the durable history
  bool operator==(const QueueCounters&) const = default;
  [[nodiscard]] std::uint64_t live() const { return ready + scheduled + leased; }
  [[nodiscard]] std::uint64_t exits() const {
    return acked_total + expired_total + cancelled_total + purged_total + dropped_total;
  }
  [[nodiscard]] bool balanced() const { return enqueued_total == live() + dead + exits(); }
};

// How a job left the broker. DO NOT RENUMBER: stored in the durable history.
enum class Exit : std::uint8_t { acked = 0, expired = 1, cancelled = 2, purged = 3, dropped = 4 };

// How an attempt ended. DO NOT RENUMBER: stored.
enum class AttemptOutcome : std::uint8_t {
  failed = 0,     // nack
  timed_out = 1,  // max_run_time
  crashed = 2,    // the session was lost and did not come back
  lapsed = 3,     // the lease ran out while the session lived
  rejected = 4,
};

struct AttemptRecord {
  std::uint32_t number = 0;  // 1-based over the job's whole life; redrive does not reset it
  AttemptOutcome outcome = AttemptOutcome::failed;
  TimeMs started_at{}, ended_at{};
  SessionNo session{};
  std::string worker;  // "name@host:pid"
  std::string error;   // at most kErrorTextBytesMax
};

// Why a job is dead. DO NOT RENUMBER: stored.
enum class DeadReason : std::uint8_t {
  attempts = 0,  // max_attempts failures
  rejected = 1,  // the worker said never again
  crashes = 2,   // crash_limit crashes in a row
  damaged = 3,   // its stored record does not check
};

// A piece of work over many jobs. DO NOT RENUMBER: stored.
enum class TaskKind : std::uint8_t {
  redrive = 0,
  purge_dead = 1,
  purge_queue = 2,
  drop_dead = 3,  // by dead_retention
};

// Which dead jobs a task is about. All that are set must match.
struct DeadFilter {
  JobId job{};  // this one
  std::string type;
  bool has_type = false;
  std::string error_contains;
  std::int64_t min_age_ms = 0;  // dead at least this long
  [[nodiscard]] bool any() const {
    return job.is_set() || has_type || !error_contains.empty() || min_age_ms > 0;
  }
  bool operator==(const DeadFilter&) const = default;
};

const char* to_string(Exit exit);
const char* to_string(AttemptOutcome outcome);
const char* to_string(DeadReason reason);
const char* to_string(TaskKind kind);
const char* to_string(JobState state);

}  // namespace jobq
