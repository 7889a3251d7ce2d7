// Which jobs of a lane may be ready, in arrival order: how a refill finds its jobs among ten million others.
//
// Ids below a watermark are in the table lane_index, one row per lane and range of 16,384 ids that held a
// ready job when the watermark passed. Ids above it (at most 48 thousand) are kept in memory per lane and
// found again at start from the job records. Rows are a superset: the block bitmaps decide. A job below the
// watermark that becomes ready later is put into its row. Rows with nothing ready left are removed lazily:
// those a refill walked over, and a few per batch in turn.
//
// Ownership: none of the transactions. Errors: StoreError. Thread-safety: none.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "broker/engine/types.hpp"
#include "broker/store/block_table.hpp"
#include "broker/store/keys.hpp"
#include "broker/store/lmdb_env.hpp"

namespace jobq::lmdb {

struct LaneHash {
  std::size_t operator()(const Lane& lane) const noexcept {
    const std::uint64_t bits =
        (std::uint64_t{lane.queue} << 32 | lane.type) * 0x9E3779B97F4A7C15ULL + lane.priority;
    return static_cast<std::size_t>(bits * 0xD6E8FEB86659FD93ULL ^ bits >> 32);
  }
};

// Offsets of a row, ascending. The bytes: sparse:u8=0 (offset:u16)*, or dense:u8=1 and a bitmap of 2,048
// bytes, whichever is shorter.
void encode_lane_row(const std::vector<std::uint16_t>& offsets, std::string* out);
void decode_lane_row(std::string_view row, std::vector<std::uint16_t>* offsets);

// Calls visit(offset) for those from `from` on, until it returns false.
void visit_lane_row(std::string_view row, std::uint64_t from,
                    const std::function<bool(std::uint16_t)>& visit);

class LaneIndex {
 public:
  static constexpr std::uint64_t kYoungMin = 2 * kRangeJobs;  // the watermark stays this far behind

  [[nodiscard]] std::uint64_t indexed_below() const { return indexed_below_; }
  void set_indexed_below(std::uint64_t id) { indexed_below_ = id; }

  // A new job. Ids ascending.
  void add(const Lane& lane, JobId job);
  // A job that was not ready has become so.
  void became_ready(const Lane& lane, JobId job);

  // At the end of a batch: rows for jobs that became ready below the watermark, then the watermark moves up,
  // then some rows are looked at that may have nothing left.
  void write(Txn* txn, BlockTable* blocks, JobId next_job);

  // Offers ready ids of the lane above `after`, in order, until take returns false or `scan_max` ids were
  // looked at. Returns the id up to which everything ready was offered; *end: nothing is behind.
  using Take = std::function<bool(JobId job, const Block& block)>;
  JobId scan(const Txn& txn, BlockTable* blocks, const Lane& lane, JobId after, JobId next_job,
             std::size_t scan_max, const Take& take, bool* end);

  [[nodiscard]] std::uint64_t rows_removed() const { return rows_removed_; }

 private:
  using YoungIds = std::vector<std::uint64_t>;
  struct Late {
    Lane lane;
    JobId job;
    auto operator<=>(const Late&) const = default;
  };
  void merge_late(Txn* txn);
  void advance(Txn* txn, BlockTable* blocks, JobId next_job);
  void clean(Txn* txn, BlockTable* blocks, JobId next_job);
  bool review(Txn* txn, BlockTable* blocks, std::string_view key, JobId next_job);

  std::uint64_t indexed_below_ = 0;
  std::unordered_map<Lane, YoungIds, LaneHash> young_;
  Lane last_lane_;
  YoungIds* last_young_ = nullptr;
  std::vector<Late> late_;
  std::deque<std::string> passed_;  // keys of rows that a scan has walked through: soon empty
  std::string clean_after_;         // where the turn over all rows stands
  std::uint64_t rows_removed_ = 0;
  std::size_t clean_debt_ = 0;  // rows to look at on top of the steady few, because so many were added
  std::vector<std::uint16_t> offsets_;
  std::string scratch_;
};

}  // namespace jobq::lmdb
