// The delays that are over within seconds: in memory, without a row. A row of its own would cost each of them a page at its
// begin and a page at its end, four kilobytes for forty bytes; instead the block says of its job that there is none
// (BlockState::soon), and a start finds them by that.
//
// Times are gathered in buckets, in which nothing is in order until somebody reads. An entry whose delay has ended
// otherwise stays until its bucket is empty: whoever reads asks the block and the job.
//
// Not thread-safe. Bounded: takes() refuses when there are `most`.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "broker/engine/types.hpp"

namespace jobq::lmdb {

class SoonTimers {
 public:
  SoonTimers(DurationMs horizon, std::size_t most) : horizon_(horizon), most_(most) {}

  [[nodiscard]] bool takes(TimeMs at, TimeMs now) const { return at - now <= horizon_ && entries_ < most_; }
  void add(TimeMs at, JobId job) {
    Bucket& bucket = buckets_[bucket_of(at)];
    bucket.entries.emplace_back(at, job);
    bucket.in_order = false;
    ++bucket.alive;
    ++entries_;
  }
  void remove(TimeMs at) {
    const auto found = buckets_.find(bucket_of(at));
    if (found == buckets_.end() || --found->second.alive > 0) return;
    entries_ -= found->second.entries.size();
    buckets_.erase(found);
  }
  // take(at, job) for each from (at, job) on, in order, until it returns false. Some may have ended.
  template <typename Take>
  void each_from(TimeMs at, JobId job, Take take) {
    for (auto bucket = buckets_.lower_bound(bucket_of(at)); bucket != buckets_.end(); ++bucket) {
      auto& entries = bucket->second.entries;
      if (!std::exchange(bucket->second.in_order, true)) std::ranges::sort(entries);
      auto entry = std::ranges::lower_bound(entries, std::pair(at, job));
      for (; entry != entries.end(); ++entry) {
        // A job that was put off and back again is there twice.
        if (entry != entries.begin() && *entry == *std::prev(entry)) continue;
        if (!take(entry->first, entry->second)) return;
      }
    }
  }
  [[nodiscard]] std::size_t size() const { return entries_; }

 private:
  static constexpr std::int64_t kBucketMs = 64;

  struct Bucket {
    std::vector<std::pair<TimeMs, JobId>> entries;
    std::size_t alive = 0;
    bool in_order = false;
  };
  static std::int64_t bucket_of(TimeMs at) { return at.ms / kBucketMs; }

  DurationMs horizon_;
  std::size_t most_;
  std::size_t entries_ = 0;
  std::map<std::int64_t, Bucket> buckets_;
};

}  // namespace jobq::lmdb
