// The states of jobs, in blocks of 256 ids: bitmaps (finished, scheduled, dead, moved, has_progress, soon) and
// leases. A job is ready when it is in none of finished, scheduled, dead, leased. Blocks in use are kept in
// memory; what a batch changed is written once, by flush().
//
// A block without a row is either untouched (all its jobs are ready) or swept (all have left); load() tells
// by a probe of the jobs table, so that the bits of a loaded block are always exact.
//
// Ownership: the references that load() returns hold until evict(). Errors: StoreError. Thread-safety: none.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "broker/engine/types.hpp"
#include "broker/store/keys.hpp"
#include "broker/store/lmdb_env.hpp"

namespace jobq::lmdb {

struct Bits256 {
  std::array<std::uint64_t, 4> words{};
  [[nodiscard]] bool test(std::uint8_t bit) const { return ((words[bit >> 6] >> (bit & 63)) & 1) != 0; }
  void set(std::uint8_t bit) { words[bit >> 6] |= std::uint64_t{1} << (bit & 63); }
  void reset(std::uint8_t bit) { words[bit >> 6] &= ~(std::uint64_t{1} << (bit & 63)); }
  [[nodiscard]] bool none() const { return (words[0] | words[1] | words[2] | words[3]) == 0; }
  [[nodiscard]] unsigned count() const {
    return static_cast<unsigned>(std::popcount(words[0]) + std::popcount(words[1]) + std::popcount(words[2]) +
                                 std::popcount(words[3]));
  }
  // How many bits below this one are set.
  [[nodiscard]] std::size_t rank(std::uint8_t bit) const {
    std::size_t below = 0;
    for (unsigned word = 0; word < (bit >> 6U); ++word)
      below += static_cast<std::size_t>(std::popcount(words[word]));
    return below +
           static_cast<std::size_t>(std::popcount(words[bit >> 6] & ((std::uint64_t{1} << (bit & 63)) - 1)));
  }
  Bits256 operator|(const Bits256& other) const {
    Bits256 both;
    for (std::size_t i = 0; i < words.size(); ++i) both.words[i] = words[i] | other.words[i];
    return both;
  }
  Bits256 operator&(const Bits256& other) const {
    Bits256 both;
    for (std::size_t i = 0; i < words.size(); ++i) both.words[i] = words[i] & other.words[i];
    return both;
  }
  Bits256 operator~() const {
    Bits256 rest;
    for (std::size_t i = 0; i < words.size(); ++i) rest.words[i] = ~words[i];
    return rest;
  }
  bool operator==(const Bits256&) const = default;
};
inline constexpr Bits256 kAllBits{
    {~std::uint64_t{0}, ~std::uint64_t{0}, ~std::uint64_t{0}, ~std::uint64_t{0}}};

struct LeaseEntry {
  LeaseNo lease_no = 0;
  SessionNo session;
  TimeMs granted_at;
  bool operator==(const LeaseEntry&) const = default;
};

// What is stored of a block.
struct BlockState {
  Bits256 finished, scheduled, dead, moved, has_progress;
  Bits256 soon;  // of those scheduled, whose timer has no row (SoonTimers)
  Bits256 leased;
  std::vector<LeaseEntry> leases;  // one per bit of `entries`, in its order
  // Those of `leased`, and of leases that have ended since the row was written (Block::compact). What is stored may have
  // leases of finished jobs.
  Bits256 entries;
  bool swept = false;  // the jobs table holds nothing of this block any more

  [[nodiscard]] Bits256 ready() const { return ~(finished | scheduled | dead | leased); }
  [[nodiscard]] JobState state(std::uint8_t bit) const;
  // Jobs of a whole block whose records are still in the jobs table and needed there.
  [[nodiscard]] unsigned left_in_place() const { return (~(finished | moved)).count(); }
};

// Rows. Empty: nothing to store, the row is absent.
void encode_block_row(const BlockState& block, std::string* out);
void decode_block_row(std::string_view row, BlockState* block);  // REQUIRES: fresh bitmaps
void encode_lease_row(const BlockState& block, std::string* out);
void decode_lease_row(std::string_view row, BlockState* block);

struct Block : BlockState {
  std::uint64_t no = 0;
  bool bits_dirty = false, leases_dirty = false;
  bool bits_stored = false, leases_stored = false;  // a row exists
  bool sweep_queued = false;                        // as complete
  bool thin_queued = false;                         // as nearly complete
  std::uint64_t used = 0;                           // the batch that used it last

  [[nodiscard]] const LeaseEntry& lease(std::uint8_t bit) const { return leases[entries.rank(bit)]; }
  void grant(std::uint8_t bit, const LeaseEntry& entry);
  void move_lease(std::uint8_t bit, const LeaseEntry& entry);
  void end_lease(std::uint8_t bit) { leased.reset(bit); }
  // Lets go of the entries of leases that have ended: all at once, not one by one.
  void compact();
};

class BlockTable {
 public:
  explicit BlockTable(std::size_t blocks_max) : blocks_max_(blocks_max) {}

  // Reads every lease row: blocks with leases stay in memory from then on.
  void load_leases(const Txn& txn);
  // next_job: ids from there on are not given out yet.
  Block& load(const Txn& txn, std::uint64_t no, JobId next_job);
  void mark_bits(Block* block);
  void mark_leases(Block* block);

  // Writes what has changed, in key order.
  void flush(Txn* txn);
  // Forgets the blocks that have not been used for longest when there are too many.
  void evict();
  void next_batch() { ++batch_; }

  [[nodiscard]] std::size_t size() const { return blocks_.size(); }
  // Blocks with leases, in order.
  [[nodiscard]] std::vector<const Block*> leased_blocks() const;

 private:
  Block& insert(std::uint64_t no);
  std::size_t blocks_max_;
  std::uint64_t batch_ = 1;
  std::unordered_map<std::uint64_t, Block> blocks_;
  Block* last_ = nullptr;
  std::vector<Block*> dirty_;
  std::string scratch_;
};

}  // namespace jobq::lmdb
