// The narrow interface behind which jobs are kept. Written by one thread, the broker's loop, which is also
// its only reader; backup() alone may be called from another.
//
// The interface names no database. Two stores keep its contract: LmdbStore (the product) and MemoryStore
// (tests and the simulator); tests/store/store_contract.hpp is run against both.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/engine/change.hpp"
#include "broker/engine/types.hpp"
#include "jobq/status.hpp"

namespace jobq {

using BatchNo = std::uint64_t;

// ---- what open() finds ------------------------------------------------------------------------

struct RecoveredQueue {
  QueueNo queue = 0;
  std::string name;
  QueueSettings settings;
  QueueCounters counters;
};
struct RecoveredLane {
  Lane lane;
  std::uint64_t ready = 0;
};
struct RecoveredLease {
  JobMeta meta;  // with its progress; meta.progress.lease_no may be older than lease_no
  LeaseNo lease_no = 0;
  SessionNo session;
  TimeMs granted_at;
};
struct RecoveredProducer {
  ProducerId producer{};
  TimeMs seen_at;
  std::uint64_t lowest_open = 0;
  std::vector<change::ProducerAnswer> answers;  // by sequence
};

// Everything the engine keeps in memory. O(leased jobs + queues + lanes + open requests), whatever the
// backlog.
struct Recovered {
  protocol::Incarnation incarnation{};
  std::uint64_t secret = 0;            // random, made with the store: what session secrets are derived from
  Mark mark;                           // as of the last batch
  std::vector<RecoveredQueue> queues;  // by number
  std::vector<std::string> types;      // types[n] is type number n; types[0] is ""
  std::vector<RecoveredLane> lanes;    // by lane
  std::vector<RecoveredLease> leases;  // by job
  std::vector<RecoveredProducer> producers;  // by producer
  std::vector<change::PutTask> tasks;        // that had not ended, by number
  std::uint64_t next_task = 1;
};

// ---- reads ------------------------------------------------------------------------------------

// Of every JobMeta that a store hands out: progress is the stored one (all zero when there is none), due is
// set only while the job is scheduled, and progress.ready_since of a job that was delayed at its enqueue and
// is ready now is the time it was delayed to (so that nobody counts a delay as waiting).

// The next ready jobs of a lane after an id, in id order. `covered_to`: every ready job of the lane with id
// <= covered_to and > after is in `jobs`. `end`: there is no ready job behind them.
struct LanePage {
  std::vector<JobMeta> jobs;
  JobId covered_to{};
  bool end = false;
};

// The next timers of a clock after a key, in firing order. Timers of kind unique_hold carry no job.
struct TimerEntry {
  TimerKey key;
  JobMeta meta;  // kinds due and expiry
};
struct TimerPage {
  std::vector<TimerEntry> timers;
  bool end = false;
};

struct DeadJob {
  JobMeta meta;
  DeadReason reason = DeadReason::attempts;
  TimeMs died_at;
  std::string last_error;  // of the newest attempt
};
struct DeadPage {
  std::vector<DeadJob> jobs;  // by id
  bool end = false;
};

struct JobFact {
  bool known = false;  // the id was given out and the job has not left
  JobState state = JobState::gone;
  JobMeta meta;
};
struct UniqueFact {
  bool held = false;
  JobId holder{};
  JobState state = JobState::gone;  // gone: the key outlives the job (unique_for)
  std::uint64_t body_hash = 0;      // hash64() of the holder's body
};

// A body as it lies in the store: large ones in parts, one behind the other, so that whoever sends one copies it once.
// Views, of parts that somebody else keeps.
class StoredBody {
 public:
  StoredBody() = default;
  explicit StoredBody(std::string_view whole) : whole_(whole), bytes_(whole.size()) {}
  explicit StoredBody(std::span<const std::string_view> parts) : parts_(parts) {
    for (const std::string_view part : parts) bytes_ += part.size();
  }

  [[nodiscard]] std::size_t size() const { return bytes_; }
  // Of this object, which has to outlive them.
  [[nodiscard]] std::span<const std::string_view> parts() const {
    return parts_.empty() ? std::span(&whole_, 1) : parts_;
  }
  [[nodiscard]] std::string text() const {
    std::string copy;
    copy.reserve(bytes_);
    for (const std::string_view part : parts()) copy += part;
    return copy;
  }

 private:
  std::string_view whole_;
  std::span<const std::string_view> parts_;
  std::size_t bytes_ = 0;
};

// Some bytes of a body: so many, from there on.
struct BodyPiece {
  std::uint64_t from = 0;
  std::uint64_t bytes = 0;
};

// One stored job as it is handed to a worker or shown to a person. Views hold during the visit only.
struct StoredJob {
  JobMeta meta;
  JobState state = JobState::ready;
  std::string_view headers;
  StoredBody body;
  std::string_view unique_key;
};

struct FinishedJob {
  change::AddFinished summary;
};

// Every answer waits for its commit: from here on the disk is what is wrong.
inline constexpr DurationMs kSlowCommit{1'000};

struct StoreHealth {
  std::uint64_t map_bytes = 0;   // what the store may grow to
  std::uint64_t used_bytes = 0;  // pages in use
  std::uint64_t free_bytes = 0;  // pages inside the file that are free for reuse
  std::uint64_t file_bytes = 0;
  std::uint64_t disk_free_bytes = 0;
  std::uint64_t commits = 0;
  std::uint64_t commit_us_last = 0, commit_us_max = 0;
  std::uint64_t slow_commits = 0;  // of kSlowCommit and longer
  // Somebody reads an old state of the store, a backup or another program: what was freed since then cannot be used again.
  // As long as it has been noticed; 0: nobody.
  std::uint64_t oldest_reader_ms = 0;
  std::int64_t oldest_reader_pid = 0;
  std::uint64_t damaged_records = 0;  // seen since the start
};

class Store {
 public:
  virtual ~Store() = default;

  // Reads what the engine keeps in memory. Once, before anything else. Corruption stops it: nothing is
  // skipped.
  virtual Result<Recovered> recover() = 0;

  // Hands in one turn's changes, in order: all durable or none. Batches complete in the order they were
  // submitted. After one failure every later call fails too: memory is ahead of disk and the process has to
  // end. REQUIRES: the changes are legal (a job is leased before it is finished, ...); a store may check and
  // abort.
  virtual Result<BatchNo> submit(std::span<const Change> changes, const Mark& mark) = 0;
  // The last batch that is durable. wait: returns when the last one submitted is.
  virtual Result<BatchNo> completed(bool wait) = 0;

  // Reads see every completed batch. Pages are bounded by limit.
  virtual Result<LanePage> read_lane(const Lane& lane, JobId after, std::size_t limit) = 0;
  virtual Result<TimerPage> read_timers(Clock clock, const TimerKey& after, std::size_t limit) = 0;
  virtual Result<DeadPage> read_dead(QueueNo queue, JobId after, std::size_t limit) = 0;
  virtual Result<JobFact> read_job(JobId job) = 0;
  virtual Result<UniqueFact> read_unique(QueueNo queue, std::string_view key) = 0;
  virtual Result<std::vector<AttemptRecord>> read_attempts(JobId job) = 0;
  virtual Result<std::optional<FinishedJob>> read_finished(JobId job) = 0;

  // Calls visit(index, job) for each of the ids in order. An id that is not stored, or whose record does not
  // check, is visited with nullptr (and counted in health().damaged_records when it is damaged).
  using Visit = std::function<void(std::size_t index, const StoredJob* job)>;
  virtual Status visit_jobs(std::span<const JobId> jobs, const Visit& visit) = 0;
  // The same of one job (index 0), but of its body `piece` only, cut at its end: the rest is neither read nor checked.
  virtual Status visit_piece(JobId job, BodyPiece piece, const Visit& visit) = 0;

  virtual StoreHealth health() = 0;

  // A consistent copy of the whole store as a file at path, while serving; nothing may be there yet (wrong_state).
  // It is written as path + ".part", synced and renamed. Thread-safe; one at a time.
  virtual Status backup(const std::string& path) = 0;
  // A backup under way ends soon with wrong_state. Thread-safe.
  virtual void stop_backup() = 0;
};

}  // namespace jobq
