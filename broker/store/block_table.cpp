#include "broker/store/block_table.hpp"

#include <algorithm>

#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq::lmdb {

void Block::grant(std::uint8_t bit, const LeaseEntry& entry) {
  const auto place = leases.begin() + static_cast<std::ptrdiff_t>(entries.rank(bit));
  if (entries.test(bit)) {
    *place = entry;
  } else {
    leases.insert(place, entry);
    entries.set(bit);
  }
  leased.set(bit);
}

void Block::move_lease(std::uint8_t bit, const LeaseEntry& entry) { leases[entries.rank(bit)] = entry; }

void Block::compact() {
  if (entries == leased) return;
  std::size_t from = 0, to = 0;
  for (std::size_t word = 0; word < entries.words.size(); ++word) {
    for (std::uint64_t left = entries.words[word]; left != 0; left &= left - 1, ++from) {
      const std::uint64_t bit = left & (~left + 1);
      if ((leased.words[word] & bit) != 0) leases[to++] = leases[from];
    }
  }
  leases.resize(to);
  if (to == 0) leases.shrink_to_fit();  // the block stays in memory for long; the room of its leases need not
  entries = leased;
}

Block& BlockTable::insert(std::uint64_t no) {
  Block& block = blocks_[no];
  block.no = no;
  block.used = batch_;
  if (no == 0) block.finished.set(0);  // id 0 is "no job"
  return block;
}

void BlockTable::load_leases(const Txn& txn) {
  Cursor cursor = txn.cursor(Table::leases);
  for (bool more = cursor.first(); more; more = cursor.next()) {
    const auto no = parse_block_key(cursor.key());
    if (!no) throw_damaged("table leases has a key of another length");
    Block& block = insert(*no);
    decode_lease_row(cursor.sound_value(), &block);
    block.leases_stored = true;
    if (const auto row = txn.get(Table::blocks, block_key(*no))) {
      block.finished = {};
      decode_block_row(*row, &block);
      block.bits_stored = true;
      if (!JOBQ_PLANTED(ended_lease_comes_back)) block.leased = block.leased & ~block.finished;
      block.compact();
    }
  }
}

Block& BlockTable::load(const Txn& txn, std::uint64_t no, JobId next_job) {
  if (last_ != nullptr && last_->no == no) {
    last_->used = batch_;
    return *last_;
  }
  if (const auto found = blocks_.find(no); found != blocks_.end()) {
    last_ = &found->second;
    last_->used = batch_;
    return *last_;
  }
  Block& block = insert(no);
  if (const auto row = txn.get(Table::blocks, block_key(no))) {
    block.finished = {};
    decode_block_row(*row, &block);
    block.bits_stored = true;
  } else if ((no + 1) * kBlockJobs <= next_job.value) {
    const JobId probe{std::max<std::uint64_t>(no * kBlockJobs, 1)};
    if (!txn.look(Table::jobs, job_key(probe)).present) {
      block.finished = kAllBits;
      block.swept = true;
    }
  }
  last_ = &block;
  return block;
}

void BlockTable::mark_bits(Block* block) {
  if (!block->bits_dirty && !block->leases_dirty) dirty_.push_back(block);
  block->bits_dirty = true;
}

void BlockTable::mark_leases(Block* block) {
  if (!block->bits_dirty && !block->leases_dirty) dirty_.push_back(block);
  block->leases_dirty = true;
}

void BlockTable::flush(Txn* txn) {
  std::ranges::sort(dirty_, {}, [](const Block* block) { return block->no; });
  const auto store = [&](Table table, const Block& block, bool* stored) {
    if (!scratch_.empty()) {
      txn->put(table, block_key(block.no), scratch_);
      *stored = true;
    } else if (*stored) {
      txn->erase(table, block_key(block.no));
      *stored = false;
    }
  };
  for (Block* block : dirty_) {
    if (block->bits_dirty) {
      encode_block_row(*block, &scratch_);
      store(Table::blocks, *block, &block->bits_stored);
    }
    if (block->leases_dirty) {
      block->compact();
      encode_lease_row(*block, &scratch_);
      store(Table::leases, *block, &block->leases_stored);
    }
    block->bits_dirty = block->leases_dirty = false;
  }
  dirty_.clear();
}

void BlockTable::evict() {
  if (blocks_.size() <= blocks_max_) return;
  JOBQ_CHECK(dirty_.empty());
  // A quarter at once, so that the walk is paid by as many insertions.
  std::vector<std::uint64_t> used;
  used.reserve(blocks_.size());
  for (const auto& [no, block] : blocks_) {
    if (block.leases.empty()) used.push_back(block.used);
  }
  if (used.empty()) return;
  const auto cut = used.begin() + static_cast<std::ptrdiff_t>(std::min(used.size() - 1, blocks_max_ / 4));
  std::ranges::nth_element(used, cut);
  std::erase_if(blocks_,
                [&](const auto& entry) { return entry.second.leases.empty() && entry.second.used <= *cut; });
  last_ = nullptr;
}

std::vector<const Block*> BlockTable::leased_blocks() const {
  std::vector<const Block*> leased;
  for (const auto& [no, block] : blocks_) {
    if (!block.leases.empty()) leased.push_back(&block);
  }
  std::ranges::sort(leased, {}, [](const Block* block) { return block->no; });
  return leased;
}

}  // namespace jobq::lmdb
