#include "broker/store/lane_index.hpp"

#include <algorithm>
#include <bit>
#include <optional>

#include "broker/store/bytes_io.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq::lmdb {
namespace {

enum class RowForm : std::uint8_t { sparse = 0, dense = 1 };
constexpr std::size_t kBitmapBytes = kRangeJobs / 8;
constexpr std::size_t kPassedMax = 4096;  // rows that refills have walked through and that are not empty yet
constexpr std::size_t kPassedPerBatch = 16;  // of them, looked at in a batch
constexpr std::size_t kCleanedPerBatch = 4;  // rows looked at in turn, at least
constexpr std::size_t kCleanedExtraMax = 64;

bool is_ready(const Txn& txn, BlockTable* blocks, JobId job, JobId next_job, const Block** block) {
  if (*block == nullptr || (*block)->no != block_of(job))
    *block = &blocks->load(txn, block_of(job), next_job);
  return (*block)->ready().test(bit_of(job));
}

}  // namespace

void encode_lane_row(const std::vector<std::uint16_t>& offsets, std::string* out) {
  ByteWriter writer(out);
  if (offsets.size() * 2 < kBitmapBytes) {
    writer.fixed(static_cast<std::uint8_t>(RowForm::sparse));
    for (const std::uint16_t offset : offsets) writer.fixed(offset);
    return;
  }
  writer.fixed(static_cast<std::uint8_t>(RowForm::dense));
  out->resize(1 + kBitmapBytes, '\0');
  for (const std::uint16_t offset : offsets) {
    char& byte = (*out)[1 + offset / 8U];
    byte = static_cast<char>(static_cast<unsigned char>(byte) | (1U << (offset % 8U)));
  }
}

void visit_lane_row(std::string_view row, std::uint64_t from,
                    const std::function<bool(std::uint16_t)>& visit) {
  ByteReader reader(row);
  const auto form = reader.fixed<std::uint8_t>();
  if (form == static_cast<std::uint8_t>(RowForm::sparse)) {
    int previous = -1;
    while (!reader.done()) {
      const auto offset = reader.fixed<std::uint16_t>();
      if (offset >= kRangeJobs || int{offset} <= previous)
        throw_damaged("a row of lane_index is out of order");
      previous = offset;
      if (offset >= from && !visit(offset)) return;
    }
    return;
  }
  if (form != static_cast<std::uint8_t>(RowForm::dense) || reader.rest().size() != kBitmapBytes) {
    throw_damaged("a row of lane_index has an unknown form");
  }
  const std::string_view bitmap = reader.rest();
  for (std::size_t at = from / 8; at < kBitmapBytes; ++at) {
    auto left = static_cast<std::uint8_t>(bitmap[at]);
    if (at == from / 8) left = static_cast<std::uint8_t>(left & (0xFFU << (from % 8)));
    for (; left != 0; left = static_cast<std::uint8_t>(left & (left - 1))) {
      if (!visit(static_cast<std::uint16_t>(at * 8 + static_cast<std::size_t>(std::countr_zero(left)))))
        return;
    }
  }
}

void decode_lane_row(std::string_view row, std::vector<std::uint16_t>* offsets) {
  offsets->clear();
  visit_lane_row(row, 0, [&](std::uint16_t offset) {
    offsets->push_back(offset);
    return true;
  });
}

void LaneIndex::add(const Lane& lane, JobId job) {
  if (last_young_ == nullptr || last_lane_ != lane) {
    last_young_ = &young_[lane];
    last_lane_ = lane;
  }
  last_young_->push_back(job.value);
}

void LaneIndex::became_ready(const Lane& lane, JobId job) {
  if (job.value < indexed_below_) late_.push_back({.lane = lane, .job = job});
}

void LaneIndex::write(Txn* txn, BlockTable* blocks, JobId next_job) {
  merge_late(txn);
  while (next_job.value >= indexed_below_ + kYoungMin) advance(txn, blocks, next_job);
  clean(txn, blocks, next_job);
}

void LaneIndex::merge_late(Txn* txn) {
  std::ranges::sort(late_);
  for (std::size_t at = 0; at < late_.size();) {
    const Lane lane = late_[at].lane;
    const std::uint64_t range = range_of(late_[at].job);
    const auto key = lane_index_key(lane, range);
    if (const auto row = txn->get(Table::lane_index, key)) {
      decode_lane_row(*row, &offsets_);
    } else {
      offsets_.clear();
      clean_debt_ += 2;
    }
    const std::size_t before = offsets_.size();
    for (; at < late_.size() && late_[at].lane == lane && range_of(late_[at].job) == range; ++at) {
      offsets_.push_back(static_cast<std::uint16_t>(late_[at].job.value % kRangeJobs));
    }
    std::ranges::inplace_merge(offsets_, offsets_.begin() + static_cast<std::ptrdiff_t>(before));
    offsets_.erase(std::unique(offsets_.begin(), offsets_.end()), offsets_.end());
    if (offsets_.size() == before) continue;
    encode_lane_row(offsets_, &scratch_);
    txn->put(Table::lane_index, key, scratch_);
  }
  late_.clear();
}

void LaneIndex::advance(Txn* txn, BlockTable* blocks, JobId next_job) {
  const std::uint64_t below = indexed_below_ + kRangeJobs;
  const Block* block = nullptr;
  for (auto lane = young_.begin(); lane != young_.end();) {
    YoungIds& ids = lane->second;
    const auto end = std::ranges::lower_bound(ids, below);
    offsets_.clear();
    for (auto id = ids.begin(); id != end; ++id) {
      if (is_ready(*txn, blocks, JobId{*id}, next_job, &block)) {
        offsets_.push_back(static_cast<std::uint16_t>(*id - indexed_below_));
      }
    }
    if (!offsets_.empty()) {
      encode_lane_row(offsets_, &scratch_);
      const std::uint64_t range = range_of(JobId{indexed_below_});
      txn->put(
          Table::lane_index,
          lane_index_key(lane->first, JOBQ_PLANTED(range_little_endian) ? __builtin_bswap64(range) : range),
          scratch_);
      clean_debt_ += 2;
    }
    ids.erase(ids.begin(), end);
    lane = ids.empty() ? young_.erase(lane) : std::next(lane);
  }
  last_young_ = nullptr;
  indexed_below_ = below;
}

// Removes a row with nothing ready in it, and shortens one whose first half has gone. Stops at the first ready job, so
// that a row in use costs next to nothing. Returns whether the row stays.
bool LaneIndex::review(Txn* txn, BlockTable* blocks, std::string_view key, JobId next_job) {
  const auto row = txn->get(Table::lane_index, key);
  const auto at = parse_lane_index_key(key);
  if (!row || !at) return false;
  const Block* block = nullptr;
  std::size_t gone = 0;
  std::optional<std::uint16_t> first;
  visit_lane_row(*row, 0, [&](std::uint16_t offset) {
    if (is_ready(*txn, blocks, JobId{at->range * kRangeJobs + offset}, next_job, &block)) {
      first = offset;
    } else {
      ++gone;
    }
    return !first;
  });
  if (!first) {
    txn->erase(Table::lane_index, key);
    ++rows_removed_;
    return false;
  }
  if (gone == 0) return true;
  decode_lane_row(*row, &offsets_);
  if (2 * gone > offsets_.size()) {
    offsets_.erase(offsets_.begin(), offsets_.begin() + static_cast<std::ptrdiff_t>(gone));
    encode_lane_row(offsets_, &scratch_);
    txn->put(Table::lane_index, key, scratch_);
  }
  return true;
}

void LaneIndex::clean(Txn* txn, BlockTable* blocks, JobId next_job) {
  // What a refill has handed out is soon leased: its rows are looked at until then.
  for (std::size_t left = std::min(passed_.size(), kPassedPerBatch); left > 0; --left) {
    std::string key = std::move(passed_.front());
    passed_.pop_front();
    if (review(txn, blocks, key, next_job)) passed_.push_back(std::move(key));
  }

  // Twice as many as are added, spread over the batches, so that a turn over all of them comes to its end.
  const std::size_t extra = std::min(clean_debt_, kCleanedExtraMax);
  clean_debt_ -= extra;
  std::vector<std::string> keys;
  {
    Cursor cursor = txn->cursor(Table::lane_index);
    bool more = clean_after_.empty() ? cursor.first() : cursor.seek(clean_after_);
    for (; more && keys.size() < kCleanedPerBatch + extra; more = cursor.next()) {
      keys.emplace_back(cursor.key());
    }
    clean_after_ = more ? std::string(cursor.key()) : std::string();
  }
  for (const std::string& key : keys) review(txn, blocks, key, next_job);
}

JobId LaneIndex::scan(const Txn& txn, BlockTable* blocks, const Lane& lane, JobId after, JobId next_job,
                      std::size_t scan_max, const Take& take, bool* end) {
  *end = false;
  const Block* block = nullptr;
  std::size_t scanned = 0;
  std::uint64_t from = after.value + 1;
  if (from < indexed_below_) {
    Cursor cursor = txn.cursor(Table::lane_index);
    for (bool more = cursor.seek(lane_index_key(lane, from / kRangeJobs)); more; more = cursor.next()) {
      const auto at = parse_lane_index_key(cursor.key());
      if (!at) throw_damaged("table lane_index has a key of another length");
      if (at->lane != lane) break;
      const std::uint64_t base = at->range * kRangeJobs;
      std::optional<JobId> refused;
      visit_lane_row(cursor.sound_value(), from > base ? from - base : 0, [&](std::uint16_t offset) {
        const JobId job{base + offset};
        ++scanned;
        if (is_ready(txn, blocks, job, next_job, &block) && !take(job, *block)) refused = job;
        return !refused;
      });
      if (refused) return JobId{refused->value - 1};
      if (passed_.size() == kPassedMax) passed_.pop_front();
      passed_.emplace_back(cursor.key());
      from = base + kRangeJobs;
      if (scanned >= scan_max) return JobId{from - 1};
    }
    from = std::max(from, indexed_below_);
  }
  if (const auto ids = young_.find(lane); ids != young_.end()) {
    for (auto id = std::ranges::lower_bound(ids->second, from); id != ids->second.end(); ++id) {
      const JobId job{*id};
      if (!is_ready(txn, blocks, job, next_job, &block)) continue;
      if (!take(job, *block)) return JobId{job.value - 1};
    }
  }
  *end = true;
  return JobId{std::max(next_job.value - 1, after.value)};
}

}  // namespace jobq::lmdb
