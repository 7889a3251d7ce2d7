#include "broker/engine/lane_window.hpp"

#include <algorithm>

#include "libjobq/base/check.hpp"

namespace jobq {

std::deque<ReadyEntry>::iterator LaneWindow::find_place(JobId job) {
  return std::lower_bound(entries_.begin(), entries_.end(), job,
                          [](const ReadyEntry& entry, JobId id) { return entry.meta.id < id; });
}

bool LaneWindow::insert(const ReadyEntry& entry, std::size_t capacity) {
  const JobId id = entry.meta.id;
  if (more_ && id > horizon_) return false;
  const bool at_end = entries_.empty() || entries_.back().meta.id < id;
  if (at_end && entries_.size() >= capacity) {
    horizon_ = entries_.empty() ? JobId{} : entries_.back().meta.id;  // It may have stood further on.
    more_ = true;
    return false;
  }
  if (at_end) {
    entries_.push_back(entry);
  } else {
    const auto place = find_place(id);
    JOBQ_CHECK(place == entries_.end() || place->meta.id != id, "job {} is ready twice", id.value);
    entries_.insert(place, entry);
  }
  // Jobs that fall due far in front of the horizon may pile up: give the tail back to the store.
  if (entries_.size() > 2 * capacity) {
    entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(capacity), entries_.end());
    horizon_ = entries_.back().meta.id;
    more_ = true;
  }
  return true;
}

void LaneWindow::append_page(const std::vector<JobMeta>& jobs, JobId covered_to, bool end) {
  for (const JobMeta& meta : jobs) {
    JOBQ_CHECK(meta.id > horizon_, "page goes back: {} after {}", meta.id.value, horizon_.value);
    entries_.push_back({.meta = meta});
  }
  horizon_ = std::max(horizon_, covered_to);
  if (!entries_.empty()) horizon_ = std::max(horizon_, entries_.back().meta.id);
  more_ = !end;
}

ReadyEntry LaneWindow::take(std::size_t index) {
  ReadyEntry entry = entries_[index];
  if (index == 0) {
    entries_.pop_front();
  } else {
    entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(index));
  }
  return entry;
}

bool LaneWindow::erase(JobId job) {
  const auto place = find_place(job);
  if (place == entries_.end() || place->meta.id != job) return false;
  entries_.erase(place);
  return true;
}

}  // namespace jobq
