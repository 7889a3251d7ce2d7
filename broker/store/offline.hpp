// What is done to a store while no broker has it open: putting a backup in place, and giving space back to the disk.
//
//   OfflineReport report;
//   const Status done = restore_store("monday.mdb", "/var/lib/jobq", {}, &report);
//
// Both write beside the place, verify what they wrote, and rename: whenever the process ends, the directory holds the old
// store or the new one. What a crash leaves over is removed by the next run. Call them from a process with one thread
// (reading_child.hpp says why). Units: bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "broker/store/check_store.hpp"
#include "broker/store/lmdb_options.hpp"
#include "jobq/status.hpp"

namespace jobq {

struct OfflineOptions {
  // What is being done ("copying") and how far it is; of = 0: not known. Called about five times a second. False: give
  // up (StoreProblem::interrupted).
  std::function<bool(std::string_view doing, std::uint64_t done, std::uint64_t of)> progress{};
  // What the checker finds wrong (check_store.hpp has its form). A store with problems is neither restored nor compacted.
  LineSink problem_line{};
};

struct OfflineReport {
  CheckCounts counts;
  std::uint64_t bytes_before = 0, bytes_after = 0;  // of the file
  std::string left_over;  // what an earlier run that was cut short had left, and is gone now
};

// Makes `directory` (which is not there yet, or empty) the home of the store in `file`, a backup. It gets a new
// incarnation: answers that workers hold for the original cannot hit its jobs.
Status restore_store(const std::string& file, const std::string& directory, const OfflineOptions& options,
                     OfflineReport* report, StoreProblem* problem);

// Writes the store anew without its free pages. It stays the same store: workers that still hold jobs of it may finish
// them.
Status compact_store(const std::string& directory, const OfflineOptions& options, OfflineReport* report,
                     StoreProblem* problem);

}  // namespace jobq
