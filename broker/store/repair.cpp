#include "broker/store/repair.hpp"

#include <fmt/format.h>

#include "broker/store/bytes_io.hpp"
#include "broker/store/offline_files.hpp"
#include "broker/store/repair_store.hpp"
#include "broker/store/store_files.hpp"

namespace jobq {
namespace lmdb {
namespace {

// In a child: the reader has no known way to fail, and an unknown one must not take the report with it.
std::string repair_in_child(const std::string& from, const std::string& to, TimeMs wall_now,
                            const LineSink& line) {
  const RepairReport report = Repair(from, to, wall_now, line).run();
  std::string row;
  ByteWriter(&row)
      .number(report.lost)
      .number(report.lost_ranges)
      .number(report.uncertain)
      .number(report.damaged_pages)
      .number(report.damaged_rows)
      .number(report.changed)
      .number(report.leases_returned);
  return row;
}

void repair(const std::string& path, const std::string& directory, TimeMs wall_now,
            const OfflineOptions& options, RepairReport* report) {
  Fd old_lock;
  const std::string from = data_file_of(path, &old_lock);
  OfflineReport left;
  require_empty(directory, &left);
  prepare_directory(directory, true);
  const Fd lock = lock_directory(directory);
  Aside aside(fmt::format("{}/{}", directory, kRestoringFile));
  std::function<bool()> go_on;
  if (options.progress) go_on = [&] { return options.progress("saving jobs", size_of(aside.file()), 0); };
  const ChildEnd end =
      run_in_child([&](const LineSink& line) { return repair_in_child(from, aside.file(), wall_now, line); },
                   [&](std::string_view line) {
                     if (options.problem_line) options.problem_line(line);
                   },
                   go_on);
  if (end.stopped) fail_interrupted();
  if (!end.status.ok()) throw StoreError(end.status.code(), end.problem, end.status.text());
  if (!end.whole) {
    if (const Status outside = ended_from_outside(end, "reading " + from); !outside.ok())
      throw StoreError(outside.code(), StoreProblem::io, outside.text() + "; nothing was changed");
    throw StoreError(
        Code::internal, StoreProblem::damaged,
        fmt::format("reading {} ended by signal {}: report this as a fault of jobq, with the file if you can",
                    from, end.signal));
  }
  ByteReader reader(end.result);
  for (std::uint64_t* count :
       {&report->lost, &report->lost_ranges, &report->uncertain, &report->damaged_pages,
        &report->damaged_rows, &report->changed, &report->leases_returned}) {
    *count = reader.number();
  }
  report->counts =
      check_with_progress({.path = aside.file(), .locked = true}, "checking the new store", options);
  if (report->counts.problems > 0) {
    throw StoreError(
        Code::internal, StoreProblem::damaged,
        fmt::format(
            "the new store has {} problems itself, so it was not kept: report this as a fault of jobq",
            report->counts.problems));
  }
  give_to_owner_of(directory, aside.file());
  give_to_owner_of(directory, fmt::format("{}/{}", directory, kLockFile));
  aside.place(data_file(directory));
}

}  // namespace
}  // namespace lmdb

Status repair_store(const std::string& path, const std::string& new_directory, TimeMs wall_now,
                    const OfflineOptions& options, RepairReport* report, StoreProblem* problem) {
  return lmdb::guarded(problem, [&] { lmdb::repair(path, new_directory, wall_now, options, report); });
}

}  // namespace jobq
