// Makes legal batches of changes: what an engine would hand to its store, by order or at random from a seed.
// For the contract suite, for crash tests (the same seed gives the same batches, so a checker can work out
// what a store must contain after batch n) and for benchmarks.
//
//   LegalBatches batches;
//   const QueueNo mail = batches.add_queue("mail");
//   const JobId job = batches.enqueue({mail, 0, 5}, {.body = "hello"});
//   batches.lease(job, SessionNo{1});
//   LegalBatch batch = batches.take();   // with the counters and lane rows that belong to it
//   store.submit(batch.changes, batch.mark);
//
// Not thread-safe. A LegalBatch owns the bytes that its changes point to.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/engine/change.hpp"
#include "libjobq/base/prng.hpp"

namespace jobq {

struct LegalBatch {
  std::vector<Change> changes;
  std::deque<std::string> bytes;
  Mark mark;
};

struct NewJob {
  std::string body = "a body";
  std::string headers{};
  std::string unique_key{};
  TimeMs due{};
  Clock due_clock = Clock::engine;
  TimeMs expires_at{};
  std::int64_t unique_for_ms = 0;
  std::uint16_t max_attempts = 0;
  std::uint32_t max_run_ms = 0;
};

struct LegalJob {
  JobMeta meta;
  JobState state = JobState::ready;
  LeaseNo lease_no = 0;
  SessionNo session{};
  TimeMs granted_at{};
  std::string unique_key{};
  std::size_t place = 0;  // in the list of its state
};

struct RandomLimits {
  std::size_t live_target = 2'000;  // around which the number of jobs swings
  std::size_t body_bytes_max = 200'000;
  std::size_t changes_max = 60;  // per batch
};

class LegalBatches {
 public:
  LegalBatches();

  // ---- by order; the caller sees to it that the state fits -------------------------------------
  QueueNo add_queue(const std::string& name, const QueueSettings& settings = {});
  void set_queue(QueueNo queue, const QueueSettings& settings);
  void remove_queue(QueueNo queue);  // REQUIRES: no jobs
  TypeNo add_type(const std::string& name);
  SessionNo add_session();
  JobId enqueue(const Lane& lane, const NewJob& job = {});
  void lease(JobId job, SessionNo session);
  void move_lease(JobId job, SessionNo session);
  void finish(JobId job, Exit exit, const std::string& worker = "");  // from any state
  void give_back(JobId job);                                          // leased -> ready
  // leased -> scheduled, as a failed attempt when there is an error, otherwise as a snooze
  void retry(JobId job, TimeMs due, const std::optional<std::string>& error);
  void die(JobId job, DeadReason reason, const std::optional<std::string>& error);
  void reschedule(JobId job, TimeMs due, Clock clock);  // ready or scheduled
  void due(JobId job);
  void redrive(JobId job);
  void release_unique(TimerKey timer);  // a copy: the caller may name it by the entry that goes
  void answer(const ProducerId& producer, std::uint64_t sequence, std::uint64_t lowest_open,
              const std::vector<protocol::EnqueueResult>& results = {});
  void forget(const ProducerId& producer);
  void put_task(const change::PutTask& task);
  void remove_task(std::uint64_t task);
  void pass_time(std::int64_t ms);

  // Closes the batch.
  LegalBatch take();

  // ---- at random ------------------------------------------------------------------------------
  LegalBatch random_batch(Prng* prng, const RandomLimits& limits);

  // ---- what there is now ----------------------------------------------------------------------
  [[nodiscard]] const Now& now() const { return mark_.now; }
  [[nodiscard]] const Mark& mark() const { return mark_; }
  [[nodiscard]] const std::map<JobId, LegalJob>& jobs() const { return jobs_; }
  [[nodiscard]] const LegalJob& job(JobId id) const { return jobs_.at(id); }
  [[nodiscard]] const std::vector<JobId>& in_state(JobState state) const;
  [[nodiscard]] const QueueCounters& counters(QueueNo queue) const { return queues_.at(queue).counters; }
  [[nodiscard]] std::vector<QueueNo> queue_numbers() const;
  // Every unique key ever used.
  [[nodiscard]] const std::set<std::pair<QueueNo, std::string>>& keys_used() const { return keys_used_; }
  [[nodiscard]] const std::map<TimerKey, std::pair<QueueNo, std::string>>& holds() const { return holds_; }

 private:
  struct Queue {
    std::string name;
    QueueSettings settings;
    QueueCounters counters;
  };
  struct Producer {
    std::uint64_t next_sequence = 1;
    std::uint64_t lowest_open = 1;
  };

  std::string_view keep(std::string bytes) { return batch_.bytes.emplace_back(std::move(bytes)); }
  LegalJob* find(JobId id, JobState state);
  void enter(LegalJob* job, JobState state);
  void leave(LegalJob* job);
  std::optional<AttemptRecord> attempt(LegalJob* job, AttemptOutcome outcome,
                                       const std::optional<std::string>& error);
  void count_lane(const Lane& lane, std::int64_t by);

  void random_change(Prng* prng, const RandomLimits& limits);
  void random_queue_change(Prng* prng);
  void random_enqueue(Prng* prng, const RandomLimits& limits);
  void random_end_of_lease(Prng* prng);
  void random_waiting_change(Prng* prng);
  void random_producer_change(Prng* prng);
  std::optional<JobId> pick(Prng* prng, JobState state) const;

  Mark mark_;
  LegalBatch batch_;
  std::set<QueueNo> touched_queues_;
  std::set<Lane> touched_lanes_;
  std::map<QueueNo, Queue> queues_;
  std::map<Lane, std::uint64_t> ready_;
  std::map<JobId, LegalJob> jobs_;
  std::array<std::vector<JobId>, 4> by_state_;
  std::map<std::pair<QueueNo, std::string>, JobId> keys_held_;
  std::set<std::pair<QueueNo, std::string>> keys_used_;
  std::map<TimerKey, std::pair<QueueNo, std::string>> holds_;
  std::map<ProducerId, Producer> producers_;
  std::uint64_t keys_made_ = 0, producers_made_ = 0;
  bool growing_ = true;
};

}  // namespace jobq
