// The store as plainly as it can be said: std::map and a loop. It is the executable specification of
// store.hpp: every change is checked for legality and an illegal one aborts (JOBQ_CHECK), and at the end of
// every batch counters and lane rows are compared with a count of their own.
//
// For tests and the simulator: nothing survives the process. restart() stands for a restarted process: the
// jobs stay, and recover() may be called again. A batch is complete when submit() returns;
// tests/store/faulty_store.hpp puts time, failure and power loss in between.
//
// Not thread-safe. Costs a few hundred bytes per job, and copies every body.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/store/store.hpp"

namespace jobq {

class MemoryStore final : public Store {
 public:
  // The seed makes incarnation and secret, so that runs can be repeated.
  explicit MemoryStore(std::uint64_t seed = 1);

  // As if the process had ended and another had opened the same store.
  void restart() { recovered_ = false; }

  Result<Recovered> recover() override;
  Result<BatchNo> submit(std::span<const Change> changes, const Mark& mark) override;
  Result<BatchNo> completed(bool wait) override;

  Result<LanePage> read_lane(const Lane& lane, JobId after, std::size_t limit) override;
  Result<TimerPage> read_timers(Clock clock, const TimerKey& after, std::size_t limit) override;
  Result<DeadPage> read_dead(QueueNo queue, JobId after, std::size_t limit) override;
  Result<JobFact> read_job(JobId job) override;
  Result<UniqueFact> read_unique(QueueNo queue, std::string_view key) override;
  Result<std::vector<AttemptRecord>> read_attempts(JobId job) override;
  Result<std::optional<FinishedJob>> read_finished(JobId job) override;
  Status visit_jobs(std::span<const JobId> jobs, const Visit& visit) override;
  Status visit_piece(JobId job, BodyPiece piece, const Visit& visit) override;
  StoreHealth health() override;
  Status backup(const std::string& path) override;
  void stop_backup() override {}

 private:
  struct Queue {
    std::string name;
    QueueSettings settings;
    QueueCounters counters;                                 // as the engine wrote them
    QueueCounters counted;                                  // as the changes say
    std::map<std::uint64_t, change::AddFinished> finished;  // by number
  };
  struct Job {
    JobMeta meta;  // as enqueued
    std::string headers, body, unique_key;
    JobState state = JobState::ready;
    std::optional<JobProgress> progress;
    TimeMs due{};  // while scheduled
    Clock due_clock = Clock::engine;
    LeaseNo lease_no = 0;  // the last one granted
    SessionNo session{};   // while leased
    TimeMs granted_at{};
    DeadReason dead_reason = DeadReason::attempts;
    TimeMs died_at{};
    std::uint32_t attempts_recorded = 0;
    std::map<std::uint32_t, AttemptRecord> attempts;  // the first and the last 50, by number
  };
  struct Key {
    JobId holder{};
    std::uint64_t body_hash = 0;
    TimeMs held_until{};  // set: the holder has left
  };
  using KeyName = std::pair<QueueNo, std::string>;

  void apply(const change::PutQueue& put);
  void apply(const change::RemoveQueue& remove);
  void apply(const change::PutType& put);
  void apply(const change::Enqueue& enqueue);
  void apply(const change::Lease& lease);
  void apply(const change::MoveLease& move);
  void apply(const change::Finish& finish);
  void apply(const change::Return& back);
  void apply(const change::Reschedule& move);
  void apply(const change::Due& due);
  void apply(const change::Die& die);
  void apply(const change::Redrive& redrive);
  void apply(const change::ReleaseUnique& release);
  void apply(const change::PutCounters& put);
  void apply(const change::PutLane& put);
  void apply(const change::AddFinished& add);
  void apply(const change::TrimFinished& trim);
  void apply(const change::PutProducer& put);
  void apply(const change::ForgetProducer& forget);
  void apply(const change::PutTask& put);
  void apply(const change::RemoveTask& remove);

  Queue& queue(QueueNo number);
  Job& job(JobId id);
  Job& job_of(const JobMeta& meta, JobState state);
  void enter(Job* job, JobState state, TimeMs due, Clock due_clock);
  void leave(Job* job);
  void keep_progress(Job* job, const JobMeta& meta);
  void add_attempt(Job* job, const std::optional<AttemptRecord>& attempt, const JobMeta& meta);
  void check_end_of_batch(const Mark& mark);
  void check_counters(const Queue& queue) const;
  [[nodiscard]] JobMeta meta_of(const Job& job) const;

  protocol::Incarnation incarnation_{};
  std::uint64_t secret_ = 0;
  bool recovered_ = false;
  BatchNo last_batch_ = 0;
  Mark mark_;
  std::map<QueueNo, Queue> queues_;
  std::vector<std::string> types_{""};
  std::map<JobId, Job> jobs_;
  std::map<Lane, std::set<JobId>> ready_;
  std::map<Lane, std::uint64_t> lane_rows_;
  std::set<JobId> leased_;
  std::map<QueueNo, std::set<JobId>> dead_;
  std::map<TimerKey, KeyName> timers_;  // the name: of the key that a unique_hold sets free
  std::map<KeyName, Key> keys_;
  std::map<JobId, std::pair<QueueNo, std::uint64_t>> finished_by_job_;
  std::map<ProducerId, RecoveredProducer> producers_;
  std::map<std::uint64_t, change::PutTask> tasks_;
  std::uint64_t next_task_ = 1;
  // Of the batch being applied.
  std::set<QueueNo> touched_queues_, counted_queues_;
  std::set<Lane> touched_lanes_;
};

}  // namespace jobq
