// What must become durable: the engine's orders to the store. One turn of the loop makes one list of changes,
// and the store makes all of it durable or none.
//
// The engine keeps the counters; the store keeps the places. A change says everything the store needs to find
// all the rows it has to touch, so that the common path (enqueue, lease, ack of a plain job) needs no read.
//
// Views point into the commands of the turn and hold until the batch is submitted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "broker/engine/answered_jobs.hpp"
#include "broker/engine/types.hpp"

namespace jobq::change {

// A queue came into being, or its settings changed. Numbers are given out in order by the engine.
struct PutQueue {
  QueueNo queue = 0;
  std::string name;
  QueueSettings settings;
};
// All jobs of it are gone (the engine has seen to that); the number is not used again.
struct RemoveQueue {
  QueueNo queue = 0;
};
struct PutType {
  TypeNo type = 0;
  std::string name;
};

// A new job, ready, or scheduled when meta.due is set. Ids rise by one from change to change over the store's
// life.
struct Enqueue {
  JobMeta meta;
  std::string_view headers;
  std::string_view body;
  std::string_view unique_key;  // empty: none
};

// Granted: ready -> leased. Durable before the worker hears of it.
struct Lease {
  JobId job;
  LeaseNo lease_no = 0;
  SessionNo session;
  TimeMs granted_at;
};

// The lease goes on under the same lease_no, for another session or with another granted_at (after a restart
// the time the broker was down does not count).
struct MoveLease {
  JobId job;
  LeaseNo lease_no = 0;
  SessionNo session;
  TimeMs granted_at;
};

// Out of the broker, from whatever state. Takes along everything that is kept about the job: timers,
// progress, attempts, unique key (or holds the key until unique_hold_until).
struct Finish {
  JobMeta meta;
  JobState from = JobState::leased;
  Exit exit = Exit::acked;
  TimeMs unique_hold_until{};  // set: the key stays taken until then (engine clock)
};

// leased -> ready (meta.due zero) or leased -> scheduled (meta.due set). meta.progress is what is stored from
// now on, its lease_no the last one granted.
struct Return {
  JobMeta meta;
  std::optional<AttemptRecord> attempt;
};

// scheduled -> scheduled at another time: old_due says where the timer was. old_due zero: ready -> scheduled.
struct Reschedule {
  JobMeta meta;
  TimeMs old_due;
  Clock old_clock = Clock::engine;
};

// scheduled -> ready: its timer has fired. meta.due is that timer.
struct Due {
  JobMeta meta;
};

// leased -> dead. Keeps the unique key; the expiry timer stays and is ignored when it fires (the engine looks
// first).
struct Die {
  JobMeta meta;
  DeadReason reason = DeadReason::attempts;
  TimeMs died_at;
  std::optional<AttemptRecord> attempt;
};

// dead -> ready. meta.progress is what is stored from now on (counters zeroed, lease_no kept).
struct Redrive {
  JobMeta meta;
};

// A held unique key is free again. `timer` is the row of the timer that fired.
struct ReleaseUnique {
  TimerKey timer;
};

// The counters of a queue after this batch; at most once per queue and batch.
struct PutCounters {
  QueueNo queue = 0;
  QueueCounters counters;
};
// How many ready jobs a lane has after this batch. Zero removes the row.
struct PutLane {
  Lane lane;
  std::uint64_t ready = 0;
};

// Durable history of finished jobs, for queues that ask for it.
struct AddFinished {
  QueueNo queue = 0;
  std::uint64_t seq = 0;
  JobId job;
  Exit exit = Exit::acked;
  TimeMs enqueued_at{}, finished_at{};
  std::uint32_t failures = 0;
  std::string worker;
};
// Removes entries with seq < below_seq, and those finished before older_than; at most 256 per change.
struct TrimFinished {
  QueueNo queue = 0;
  std::uint64_t below_seq = 0;
  TimeMs older_than{};
};

// The resend window of a producer: answers given in this batch, and what may be forgotten.
struct ProducerAnswer {
  std::uint64_t sequence = 0;
  std::uint64_t content_hash = 0;
  AnsweredJobs results;
};
struct PutProducer {
  ProducerId producer{};
  TimeMs seen_at;
  std::uint64_t lowest_open = 0;  // answers below are forgotten
  std::vector<ProducerAnswer> answers;
};
struct ForgetProducer {
  ProducerId producer{};
};

// A task over many jobs that goes on after a restart: what it was asked, and how far it is. Written in the batch of what
// it did.
struct PutTask {
  std::uint64_t number = 0;
  TaskKind kind = TaskKind::redrive;
  QueueNo queue = 0;
  DeadFilter filter;
  std::uint64_t limit = 0;
  std::uint32_t rate_per_s = 0;
  TimeMs started_at{};
  JobId cut{};    // only jobs below it: what comes in later is none of its business
  JobId after{};  // where it stands
  std::uint64_t to_scan = 0, scanned = 0, moved = 0, skipped_expired = 0;
};
struct RemoveTask {  // it has ended
  std::uint64_t task = 0;
};

using Change = std::variant<Enqueue, Lease, Finish, Return, PutCounters, PutLane, PutProducer, Due, Die,
                            Redrive, Reschedule, MoveLease, ReleaseUnique, AddFinished, TrimFinished,
                            PutQueue, PutType, RemoveQueue, ForgetProducer, PutTask, RemoveTask>;

}  // namespace jobq::change

namespace jobq {
using Change = change::Change;

// Written with every batch: numbers that can never be given out twice, and where the clocks stood.
struct Mark {
  JobId next_job{1};
  SessionNo next_session{1};
  QueueNo next_queue = 1;
  TypeNo next_type = 1;
  Now now{};
};
}  // namespace jobq
