#include "broker/store/sweeper.hpp"
#include "libjobq/base/planted.hpp"

#include <algorithm>

namespace jobq::lmdb {
namespace {

constexpr std::size_t kRowsLookedAt = 2;  // per batch, for blocks forgotten by a restart or an eviction

}  // namespace

void move_to_moved(Txn* txn, JobId job, const Row& record, std::string* scratch) {
  scratch->assign(record.value);  // the view ends with the first change
  if (record.damaged) {
    txn->put_unsound(Table::moved, job_key(job), *scratch);
  } else {
    txn->put(Table::moved, job_key(job), *scratch);
  }
}

void Sweeper::consider(Block* block, JobId next_job) {
  if (block->sweep_queued || block->swept) return;
  const unsigned left = block->left_in_place();
  if (left > kThinMax || (block->no + 1) * kBlockJobs > next_job.value) return;
  if (left == 0) {
    block->sweep_queued = true;
    complete_.push_back({.block = block->no, .since_batch = batch_});
  } else if (!block->thin_queued) {
    block->thin_queued = true;
    thin_.push_back({.block = block->no, .since = now_});
  }
}

void Sweeper::sweep(Txn* txn, BlockTable* blocks, JobId next_job, TimeMs now) {
  ++batch_;
  now_ = now;
  look_for_more(txn, blocks, next_job);
  due_.clear();
  while (!complete_.empty() && complete_.front().since_batch + kBatchesBehind <= batch_ &&
         due_.size() < kBlocksPerBatch) {
    due_.push_back(complete_.front().block);
    complete_.pop_front();
  }
  while (!thin_.empty() && thin_.front().since + kThinPatience <= now && due_.size() < kBlocksPerBatch) {
    due_.push_back(thin_.front().block);
    thin_.pop_front();
  }
  std::ranges::sort(due_);
  for (const std::uint64_t no : due_) sweep_block(txn, blocks, no, next_job);
}

void Sweeper::sweep_block(Txn* txn, BlockTable* blocks, std::uint64_t no, JobId next_job) {
  Block& block = blocks->load(*txn, no, next_job);
  block.sweep_queued = block.thin_queued = false;
  // It may have been swept meanwhile, as complete. Jobs do not come back into place, so that it is never less
  // thin.
  if (block.swept || block.left_in_place() > kThinMax) return;
  Cursor cursor = txn->cursor(Table::jobs);
  for (bool more = cursor.seek(block_key(no * kBlockJobs)); more; more = cursor.next()) {
    const auto job = parse_job_key(cursor.key());
    if (!job) throw_damaged("table jobs has a key of another length");
    if (block_of(*job) != no) break;
    const std::uint8_t bit = bit_of(*job);
    if (!block.finished.test(bit) && !block.moved.test(bit) && !JOBQ_PLANTED(sweep_takes_the_living)) {
      move_to_moved(txn, *job, cursor.row(), &scratch_);
      block.moved.set(bit);
      ++jobs_moved_;
    }
    cursor.erase();
  }
  block.swept = true;
  blocks->mark_bits(&block);
  ++blocks_swept_;
}

void Sweeper::look_for_more(Txn* txn, BlockTable* blocks, JobId next_job) {
  std::vector<std::uint64_t> found;
  {
    Cursor cursor = txn->cursor(Table::blocks);
    bool more = cursor.seek(block_key(look_after_));
    for (std::size_t row = 0; more && row < kRowsLookedAt; ++row, more = cursor.next()) {
      const auto no = parse_block_key(cursor.key());
      if (!no) throw_damaged("table blocks has a key of another length");
      BlockState state;
      decode_block_row(cursor.sound_value(), &state);
      if (!state.swept && state.left_in_place() <= kThinMax) found.push_back(*no);
      look_after_ = *no + 1;
    }
    if (!more) look_after_ = 0;
  }
  for (const std::uint64_t no : found) consider(&blocks->load(*txn, no, next_job), next_job);
}

}  // namespace jobq::lmdb
