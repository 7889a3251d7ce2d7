// The head of one lane's ready order, in memory; the rest of the lane stays in the store.
//
// Invariant: every ready job of the lane with id <= horizon() is in the window; when !more(), so is every
// other one. A job that becomes ready behind the horizon is left to the store and comes back with a refill.
// So memory is bounded, order is exact, and nobody has to know how long a lane is.
//
// Plain data structure; not thread-safe.
#pragma once

#include <cstddef>
#include <deque>
#include <map>

#include "broker/engine/types.hpp"

namespace jobq {

struct ReadyEntry {
  JobMeta meta;
  SessionNo avoid{};     // released by this session: not offered to it again
  TimeMs avoid_until{};  // before this
};

class LaneWindow {
 public:
  [[nodiscard]] std::size_t size() const { return arrived_.size() + late_.size(); }
  [[nodiscard]] bool empty() const { return arrived_.empty() && late_.empty(); }
  [[nodiscard]] bool more() const { return more_; }
  [[nodiscard]] JobId horizon() const { return horizon_; }
  // nullptr: not in the window. Good until the window changes.
  [[nodiscard]] const ReadyEntry* find(JobId job) const;
  [[nodiscard]] std::size_t count_before(JobId job) const;
  // Calls visit(entry), by id, until it returns false.
  template <typename Visit>
  void each(Visit visit) const {
    auto late = late_.begin();
    for (const ReadyEntry& entry : arrived_) {
      for (; late != late_.end() && late->first < entry.meta.id; ++late) {
        if (!visit(late->second)) return;
      }
      if (!visit(entry)) return;
    }
    for (; late != late_.end(); ++late) {
      if (!visit(late->second)) return;
    }
  }

  // After recovery: the lane has jobs in the store and none of them is known.
  void expect_more() { more_ = true; }

  // A job became ready. False: it lies behind the horizon (or the window is full) and is left to the store.
  bool insert(const ReadyEntry& entry, std::size_t capacity);

  // The store's answer to "what is ready after horizon()".
  void append_page(const std::vector<JobMeta>& jobs, JobId covered_to, bool end);

  // REQUIRES: it is in the window.
  ReadyEntry take(JobId job);
  // False: not in the window.
  bool erase(JobId job);

 private:
  [[nodiscard]] std::deque<ReadyEntry>::const_iterator place_of(JobId job) const;
  [[nodiscard]] JobId last() const;  // REQUIRES: not empty
  void drop_last();

  // Most jobs come in the order of their ids and go from the front. Those that were scheduled or retried come in
  // between, and would move thousands of others if they were kept in the same row.
  std::deque<ReadyEntry> arrived_;
  std::map<JobId, ReadyEntry> late_;
  JobId horizon_{};
  bool more_ = false;
};

}  // namespace jobq
