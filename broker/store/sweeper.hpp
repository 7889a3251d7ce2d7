// Removes the records of finished jobs, a block of 256 at a time and in key order, so that pages are freed
// whole. (LMDB merges leaves only when they are under a quarter full: removing jobs one by one frees nothing
// for long.)
//
// A block all of whose jobs have left or been moved is swept some batches later, so that ordered traffic
// never touches a page twice. One with few jobs left is swept when those have stayed for a while: they are
// moved to the table `moved` first, which happens to a job at most once.
//
// Errors: StoreError. Thread-safety: none.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "broker/store/block_table.hpp"
#include "broker/store/lmdb_env.hpp"

namespace jobq::lmdb {

// Copies a record from jobs to moved, damage included.
void move_to_moved(Txn* txn, JobId job, const Row& record, std::string* scratch);

class Sweeper {
 public:
  static constexpr unsigned kThinMax = 32;            // jobs left in place that are worth moving
  static constexpr DurationMs kThinPatience{2'000};   // how long they may take to go by themselves
  static constexpr std::uint64_t kBatchesBehind = 4;  // a complete block is swept this much later
  static constexpr std::size_t kBlocksPerBatch = 64;

  // To be told of every block in which a job finished or was moved. REQUIRES: not swept.
  void consider(Block* block, JobId next_job);
  // At the end of a batch, before the blocks are flushed.
  void sweep(Txn* txn, BlockTable* blocks, JobId next_job, TimeMs now);

  [[nodiscard]] std::uint64_t blocks_swept() const { return blocks_swept_; }
  [[nodiscard]] std::uint64_t jobs_moved() const { return jobs_moved_; }

 private:
  struct Complete {
    std::uint64_t block = 0;
    std::uint64_t since_batch = 0;
  };
  struct Thin {
    std::uint64_t block = 0;
    TimeMs since{};
  };
  void sweep_block(Txn* txn, BlockTable* blocks, std::uint64_t no, JobId next_job);
  void look_for_more(Txn* txn, BlockTable* blocks, JobId next_job);

  std::uint64_t batch_ = 0;
  TimeMs now_{};
  std::deque<Complete> complete_;
  std::deque<Thin> thin_;
  std::vector<std::uint64_t> due_;
  std::uint64_t look_after_ = 0;  // the block from which the turn over all rows goes on
  std::uint64_t blocks_swept_ = 0, jobs_moved_ = 0;
  std::string scratch_;
};

}  // namespace jobq::lmdb
