// Behind `jobq check --repair`: saves every sound job that can still be found in a damaged store into a new one, and says
// what could not be saved. The damaged store is only read.
//
//   RepairReport report;
//   const Status done = repair_store("/var/lib/jobq", "/var/lib/jobq-repaired", wall_now, options, &report, &problem);
//
// The new store is another incarnation: what workers hold of the old one is ready again, uncounted. It is written beside
// its place, checked, and renamed. Lines (OfflineOptions::problem_line) are JSON objects; "kind" is
//   lost        {"id","queue","state","text"}: a job that was there and cannot be saved
//   lost_range  {"first","last","text"}: jobs with these ids that are not in the new store may be lost
//   uncertain   {"id","queue","text"}: saved as ready, because what it was is lost: it may have finished before
//   page, row   {"table","text"}: what is damaged
//   changed     {"text"}: what was made up for, like the name of a queue
// Call it from a process with one thread.
#pragma once

#include <cstdint>
#include <string>

#include "broker/store/offline.hpp"
#include "libjobq/base/time.hpp"

namespace jobq {

struct RepairReport {
  CheckCounts counts;  // of the new store
  std::uint64_t lost = 0, lost_ranges = 0, uncertain = 0, damaged_pages = 0, damaged_rows = 0, changed = 0;
  std::uint64_t leases_returned = 0;
  // Nothing was wrong and nothing had to be made up for.
  [[nodiscard]] bool clean() const {
    return lost + lost_ranges + uncertain + damaged_pages + damaged_rows + changed == 0;
  }
};

// path: the damaged store's directory, or its file. wall_now: used where the store's own time is lost.
Status repair_store(const std::string& path, const std::string& new_directory, TimeMs wall_now,
                    const OfflineOptions& options, RepairReport* report, StoreProblem* problem);

}  // namespace jobq
