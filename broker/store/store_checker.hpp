// What the offline checker compares. Runs in the checker's child process (check_store.cpp).
//
// A row that does not check or cannot be understood is a problem line, and the walk goes on. Errors: StoreError when
// LMDB itself cannot go on. Thread-safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "broker/store/block_table.hpp"
#include "broker/store/check_store.hpp"
#include "broker/store/lane_index.hpp"
#include "broker/store/lmdb_env.hpp"
#include "broker/store/record.hpp"
#include "broker/store/rows.hpp"

namespace jobq::lmdb {

class StoreChecker {
 public:
  StoreChecker(Env* env, bool dump, const CheckSink& sink);
  CheckCounts run();

 private:
  // Calls row(key, value) for each sound row; a damaged one, or one that row() cannot decode, is a problem.
  template <typename Each>
  void each(Table table, Each row);
  void problem(Table table, std::string_view key, const std::string& text);
  void problem(JobId job, Table table, const std::string& text);

  // ---- from jobs to everything that belongs to them (store_checker_jobs.cpp) ----
  void check_records(Table table);
  void check_job(const JobRecord& record, Table table);
  void check_waiting(const JobMeta& meta, JobState state, std::uint8_t bit, const Block& block);
  void check_unique_row(const JobRecord& record, std::uint64_t body_hash);
  void check_indexed(const JobMeta& meta);
  std::optional<std::string_view> whole_body(const JobRecord& record);
  void dump_job(const JobRecord& record, const JobMeta& meta, JobState state, std::uint64_t body_hash);
  const Block& block_of_job(JobId job);
  // State and record as the store would read them; nullopt when the job is not stored or does not check.
  struct Stored {
    JobState state;
    JobRecord record;
    JobMeta meta;
  };
  std::optional<Stored> stored(JobId job);

  // ---- from every other table back to its jobs (store_checker_tables.cpp) ----
  void read_names();
  void check_blocks();
  void check_leases();
  void check_timers();
  void check_unique();
  void check_progress();
  void check_dead();
  void check_bodies();
  void check_lane_index();
  void check_lanes();
  void check_finished();
  void check_producers();
  std::set<QueueNo> damaged_counters();
  void check_counters();
  void check_tasks();  // task_rows.cpp
  void check_found_jobs();

  Txn txn_;
  bool dump_;
  const CheckSink& sink_;
  CheckCounts counts_;
  BlockTable blocks_;
  MarkRow mark_;
  std::map<QueueNo, QueueRow> queues_;
  std::map<TypeNo, std::string> types_;
  std::map<QueueNo, QueueCounters> counted_;
  std::map<Lane, std::uint64_t> counted_lanes_;
  std::unordered_map<std::uint64_t, std::uint32_t> found_in_block_;
  struct IndexedRow {
    std::uint64_t range = ~std::uint64_t{0};
    std::vector<std::uint16_t> offsets;
  };
  std::unordered_map<Lane, IndexedRow, LaneHash> indexed_;  // the row last read of each lane
  std::string body_;
};

}  // namespace jobq::lmdb
