// What becomes of each job that a salvage has found, and of those that it has not. Pure decisions over a Salvage: nothing
// is written here.
//
// Thread-safety: none. Views of a SavedJob hold until the next call of next().
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/store/repair.hpp"
#include "broker/store/salvage.hpp"

namespace jobq::lmdb {

// A job as it will stand in the new store: never leased.
struct SavedJob {
  JobId job;
  bool moved = false;
  JobState state = JobState::ready;
  std::string_view record;  // its bytes
  JobRecord decoded;
  std::vector<std::string> parts;  // of a large body
  std::uint64_t body_hash = 0;
  std::optional<ProgressRow> progress;
  std::vector<std::pair<std::string, std::string>> attempts;  // rows
  TimeMs due{};                                               // of a scheduled one
  Clock due_clock = Clock::engine;
  std::string dead_row;  // of a dead one; empty: it is lost
};

class RepairJobs {
 public:
  // For a range `queue` is its last id.
  using Say =
      std::function<void(const char* kind, JobId job, const std::string& queue, const std::string& text)>;
  // now: of the old store, or the best guess. end: ids from there on were never given out. Counts go into *report.
  RepairJobs(Salvage* salvage, const Now& now, JobId end, RepairReport* report, Say say);

  // The next one that can be saved, by id; nullptr: that were all.
  const SavedJob* next();
  // After the last: what is known to be missing.
  void report_missing();

 private:
  struct Fate {
    bool gone = false;
    bool certain = true;
    JobState state = JobState::ready;
    bool was_leased = false;
    LeaseNo lease_no = 0;
  };
  Fate fate_of(JobId job, bool found_in_moved);
  bool is_first_found(std::uint64_t block) const;
  const SavedJob* save(std::size_t first, std::size_t end);
  bool read_record(std::size_t first, std::size_t end, bool prefer_moved);
  bool read_body();
  void read_progress(const Fate& fate);
  void read_attempts();
  void find_due();
  void report_range(const LostKeys& range, JobId from, JobId below,
                    const std::unordered_set<std::uint64_t>& told);
  void lost(JobId job, const std::string& text);
  [[nodiscard]] std::string queue_name(JobId job) const;

  Salvage* salvage_;
  Now now_;
  JobId end_;
  RepairReport* report_;
  Say say_;
  std::size_t next_ = 0;
  struct {
    std::uint64_t no = ~std::uint64_t{0};
    bool may_be_lost = false, may_be_untouched = false;
  } without_row_;  // the block looked at last of those whose row was not found
  SavedJob saved_;
  std::string record_;
  std::set<std::uint64_t> finished_;                          // from the history
  std::map<std::uint64_t, std::string> dead_;                 // job -> row
  std::map<std::uint64_t, std::pair<Clock, TimeMs>> timers_;  // where states are lost
  std::map<std::pair<QueueNo, std::string>, JobId> keys_;     // of jobs saved so far
};

}  // namespace jobq::lmdb
