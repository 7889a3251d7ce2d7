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

#include "broker/engine/types.hpp"

namespace jobq {

struct ReadyEntry {
  JobMeta meta;
  SessionNo avoid{};     // released by this session: not offered to it again
  TimeMs avoid_until{};  // before this
};

class LaneWindow {
 public:
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] bool more() const { return more_; }
  [[nodiscard]] JobId horizon() const { return horizon_; }
  [[nodiscard]] const std::deque<ReadyEntry>& entries() const { return entries_; }

  // After recovery: the lane has jobs in the store and none of them is known.
  void expect_more() { more_ = true; }

  // A job became ready. False: it lies behind the horizon (or the window is full) and is left to the store.
  bool insert(const ReadyEntry& entry, std::size_t capacity);

  // The store's answer to "what is ready after horizon()".
  void append_page(const std::vector<JobMeta>& jobs, JobId covered_to, bool end);

  // REQUIRES: index < size().
  ReadyEntry take(std::size_t index);
  // False: not in the window.
  bool erase(JobId job);

 private:
  [[nodiscard]] std::deque<ReadyEntry>::iterator find_place(JobId job);

  std::deque<ReadyEntry> entries_;  // by id
  JobId horizon_{};
  bool more_ = false;
};

}  // namespace jobq
