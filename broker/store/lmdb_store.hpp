// The store of the product: LMDB in the layout of docs/storage_format.md. A job is written once and never
// changed; what changes about it is kept apart, small and dense (block_table.hpp), and finished jobs are
// removed block by block (sweeper.hpp).
//
// Thread-safety: one thread; backup() and stop_backup() may be called from any. Ownership: holds the directory's lock while it
// lives. Errors: a batch that fails leaves the store refusing everything; store_full and disk_full are told
// apart from io_error. Units: bytes, milliseconds of the clocks that the engine hands in.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/store/block_table.hpp"
#include "broker/store/lane_index.hpp"
#include "broker/store/lmdb_env.hpp"
#include "broker/store/lmdb_options.hpp"
#include "broker/store/record.hpp"
#include "broker/store/rows.hpp"
#include "broker/store/soon_timers.hpp"
#include "broker/store/store.hpp"
#include "broker/store/store_files.hpp"
#include "broker/store/sweeper.hpp"

namespace jobq::lmdb {

class LmdbStore final : public Store {
 public:
  // Throws StoreError.
  explicit LmdbStore(const LmdbOptions& options);

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
  void stop_backup() override;

 private:
  // ---- one batch (lmdb_store_apply.cpp) ----
  struct Batch {
    Txn txn;
    JobId next_job;  // rises with every enqueue of the batch
    TimeMs now{};    // the engine's clock
  };
  void apply(Batch* batch, const change::Enqueue& enqueue);
  void apply(Batch* batch, const change::Lease& lease);
  void apply(Batch* batch, const change::MoveLease& move);
  void apply(Batch* batch, const change::Finish& finish);
  void apply(Batch* batch, const change::Return& back);
  void apply(Batch* batch, const change::Reschedule& move);
  void apply(Batch* batch, const change::Due& due);
  void apply(Batch* batch, const change::Die& die);
  void apply(Batch* batch, const change::Redrive& redrive);
  void apply(Batch* batch, const change::ReleaseUnique& release);
  void apply(Batch* batch, const change::PutQueue& put);
  void apply(Batch* batch, const change::RemoveQueue& remove);
  void apply(Batch* batch, const change::PutType& put);
  void apply(Batch* batch, const change::PutCounters& put);
  void apply(Batch* batch, const change::PutLane& put);
  void apply(Batch* batch, const change::AddFinished& add);
  void apply(Batch* batch, const change::TrimFinished& trim);
  void apply(Batch* batch, const change::PutProducer& put);
  void apply(Batch* batch, const change::ForgetProducer& forget);
  void apply(Batch* batch, const change::PutTask& put);
  void apply(Batch* batch, const change::RemoveTask& remove);
  static void recover_tasks(const Txn& txn, Recovered* found);

  Block& block_in(Batch* batch, JobId job) {
    return blocks_.load(batch->txn, block_of(job), batch->next_job);
  }
  void put_body(Batch* batch, const change::Enqueue& enqueue);
  void put_timer(Batch* batch, const TimerKey& timer);
  void schedule(Batch* batch, Block* block, const TimerKey& timer);
  void unschedule(Batch* batch, Block* block, const TimerKey& timer);
  void put_progress(Batch* batch, Block* block, const JobMeta& meta);
  void put_attempt(Batch* batch, JobId job, const std::optional<AttemptRecord>& attempt);
  void make_ready(Batch* batch, const JobMeta& meta);
  void move_record(Batch* batch, Block* block, JobId job);
  void let_go_of_key(Batch* batch, const change::Finish& finish, const Block& block);
  void erase_progress(Batch* batch, JobId job);
  void erase_prefixed(Batch* batch, Table table, std::string_view prefix);

  // ---- reads (lmdb_store_read.cpp) ----
  Found look_record(const Txn& txn, const Block& block, JobId job) const;
  // nullopt: the record does not check, which is counted.
  std::optional<JobRecord> read_record(const Found& found, JobId job);
  void add_progress(const Txn& txn, const Block& block, JobMeta* meta) const;
  JobMeta meta_or_stub(const Txn& txn, const Block& block, JobId job, const Lane& lane);
  // Fills parts_ with what is stored of the body's piece. False: it is damaged, or not all there.
  bool find_body_parts(const Txn& txn, const JobRecord& record, BodyPiece piece);
  // nullptr: the job is not stored (any more).
  const Block* block_of_stored(const Txn& txn, JobId job);
  void visit_record(const Txn& txn, const Block& block, JobId job, const Found& found, BodyPiece piece,
                    const std::function<void(const StoredJob*)>& visit);
  // Of those without a row, the first behind `from`, at most `limit`.
  std::vector<TimerEntry> soon_timers(const Txn& txn, const TimerKey& from, std::size_t limit);
  void note_damage(JobId job);
  [[nodiscard]] JobId next_job() const { return mark_.mark.next_job; }
  [[nodiscard]] bool was_given_out(JobId job) const { return job.is_set() && job < next_job(); }

  // ---- whole store (lmdb_store.cpp, lmdb_store_recover.cpp) ----
  void renew_identity_of_a_copy();
  void finish_batch(Batch* batch, const Mark& mark);
  void stop_backup_that_holds_back_too_much();
  bool take_away_the_backups_file();  // REQUIRES: backup_mutex_ is held
  Status fail_for_good(const StoreError& error);
  void watch_readers(std::uint64_t newest, std::int64_t now_ms);
  std::uint64_t batch_bytes(std::span<const Change> changes) const;
  std::vector<RecoveredProducer> recover_producers(const Txn& txn) const;
  std::vector<RecoveredLease> recover_leases(const Txn& txn);
  void recover_young(const Txn& txn);
  void recover_soon(const Txn& txn);
  template <typename T, typename Read>
  Result<T> reading(Read read);

  LmdbOptions options_;
  Fd lock_;
  std::unique_ptr<Env> env_;
  std::optional<Txn> reader_;  // of the reads since the last batch
  Preallocation preallocation_;
  BlockTable blocks_;
  LaneIndex index_;
  SoonTimers soon_;
  Sweeper sweeper_;
  IdentityRow identity_;
  MarkRow mark_;
  BatchNo batch_ = 0;
  bool recovered_ = false;
  std::optional<Status> failure_;
  StoreHealth health_;
  std::uint64_t free_pages_counted_at_ = 0;  // health_.commits when free_bytes was counted
  std::int64_t free_pages_counted_ms_ = 0;
  std::int64_t readers_checked_ms_ = 0;
  std::map<std::uint64_t, std::int64_t>
      old_readers_;  // transaction -> when somebody was first seen to read behind the newest
  // A backup under way in another thread: its file, and how long the data file may become meanwhile.
  std::mutex backup_running_;  // held by the thread that copies
  std::mutex backup_mutex_;    // what follows
  int backup_fd_ = -1;
  std::uint64_t backup_end_max_ = 0;
  enum class BackupEnd : std::uint8_t { none, held_back_too_much, asked };
  BackupEnd backup_stopped_ = BackupEnd::none;
  std::string row_, moved_;
  std::vector<std::string_view> parts_;
};

}  // namespace jobq::lmdb
