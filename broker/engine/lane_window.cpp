#include "broker/engine/lane_window.hpp"

#include <algorithm>

#include "libjobq/base/check.hpp"

namespace jobq {

std::deque<ReadyEntry>::const_iterator LaneWindow::place_of(JobId job) const {
  return std::lower_bound(arrived_.begin(), arrived_.end(), job,
                          [](const ReadyEntry& entry, JobId id) { return entry.meta.id < id; });
}

const ReadyEntry* LaneWindow::find(JobId job) const {
  if (!arrived_.empty() && arrived_.front().meta.id == job) return &arrived_.front();  // nearly always
  if (const auto late = late_.find(job); late != late_.end()) return &late->second;
  const auto place = place_of(job);
  return place != arrived_.end() && place->meta.id == job ? &*place : nullptr;
}

std::size_t LaneWindow::count_before(JobId job) const {
  return static_cast<std::size_t>((place_of(job) - arrived_.begin()) +
                                  std::distance(late_.begin(), late_.lower_bound(job)));
}

JobId LaneWindow::last() const {
  if (late_.empty()) return arrived_.back().meta.id;
  if (arrived_.empty()) return late_.rbegin()->first;
  return std::max(arrived_.back().meta.id, late_.rbegin()->first);
}

void LaneWindow::drop_last() {
  if (arrived_.empty() || (!late_.empty() && arrived_.back().meta.id < late_.rbegin()->first)) {
    late_.erase(std::prev(late_.end()));
  } else {
    arrived_.pop_back();
  }
}

bool LaneWindow::insert(const ReadyEntry& entry, std::size_t capacity) {
  const JobId id = entry.meta.id;
  if (more_ && id > horizon_) return false;
  if (size() >= capacity && (empty() || last() < id)) {
    horizon_ = empty() ? JobId{} : last();  // It may have stood further on.
    more_ = true;
    return false;
  }
  if (arrived_.empty() || arrived_.back().meta.id < id) {
    arrived_.push_back(entry);
  } else {
    JOBQ_CHECK(find(id) == nullptr, "job {} is ready twice", id.value);
    late_.emplace(id, entry);
  }
  // Jobs that fall due far in front of the horizon may pile up: give the tail back to the store.
  if (size() > 2 * capacity) {
    while (size() > capacity) drop_last();
    horizon_ = last();
    more_ = true;
  }
  return true;
}

void LaneWindow::append_page(const std::vector<JobMeta>& jobs, JobId covered_to, bool end) {
  for (const JobMeta& meta : jobs) {
    JOBQ_CHECK(meta.id > horizon_, "page goes back: {} after {}", meta.id.value, horizon_.value);
    arrived_.push_back({.meta = meta});
  }
  horizon_ = std::max(horizon_, covered_to);
  if (!empty()) horizon_ = std::max(horizon_, last());
  more_ = !end;
}

ReadyEntry LaneWindow::take(JobId job) {
  const ReadyEntry* found = find(job);
  JOBQ_CHECK(found != nullptr, "job {}", job.value);
  ReadyEntry entry = *found;
  erase(job);
  return entry;
}

bool LaneWindow::erase(JobId job) {
  if (!arrived_.empty() && arrived_.front().meta.id == job) {
    arrived_.pop_front();
    return true;
  }
  if (late_.erase(job) != 0) return true;
  const auto place = place_of(job);
  if (place == arrived_.end() || place->meta.id != job) return false;
  arrived_.erase(place);
  return true;
}

}  // namespace jobq
