// The new store of a repair: writes the jobs that can be saved, and gathers in the same pass what is stored besides them
// (counters, lanes, the index of lanes, blocks), so that it agrees with them. The layout is docs/storage_format.md's.
//
// Errors: StoreError. Thread-safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "broker/store/lane_index.hpp"
#include "broker/store/repair_jobs.hpp"

namespace jobq::lmdb {

// Rows into the new store, committed in pieces: nobody looks at the file before it is renamed.
class RowWriter {
 public:
  static constexpr std::uint64_t kCommitBytes = std::uint64_t{32} << 20;

  explicit RowWriter(Env* env) : env_(env) {}
  void put(Table table, std::string_view key, std::string_view value, Put mode = Put::upsert) {
    if (!txn_) txn_.emplace(env_, Txn::Kind::write);
    txn_->put(table, key, value, mode);
    bytes_ += key.size() + value.size() + 64;
    if (bytes_ > kCommitBytes) commit();
  }
  void commit() {
    if (txn_) txn_->commit();
    txn_.reset();
    bytes_ = 0;
  }

 private:
  Env* env_;
  std::optional<Txn> txn_;
  std::uint64_t bytes_ = 0;
};

// One pass over the saved jobs writes them and gathers what is stored besides them.
class Repair {
 public:
  // from: the damaged file; to: a file that is not there yet.
  Repair(const std::string& from, const std::string& to, TimeMs wall_now, const LineSink& line)
      : salvage_(from), to_(to), line_(line) {
    read_mark(wall_now);
  }

  // Once. What is said goes to the sink; the new store is whole when it returns.
  RepairReport run();

 private:
  void say(const char* kind, JobId job, const std::string& queue, const std::string& text);
  void changed(const std::string& text);
  void say_damage();
  void read_mark(TimeMs wall_now);
  void read_names();
  void write(const SavedJob& job);
  void end_block();
  void end_range();
  void write_queues();
  void write_lanes();
  void write_held_keys();
  void write_history();
  void write_producers();
  QueueRow& queue(QueueNo number);
  TypeNo type_for(TypeNo stored);
  void say_lost_types(TypeNo first, TypeNo last);

  Salvage salvage_;
  std::string to_;
  const LineSink& line_;
  RepairReport report_;
  RowWriter* out_ = nullptr;
  Mark mark_;
  JobId given_out_;  // ids from there on were never
  std::uint64_t indexed_below_ = 0;
  std::map<QueueNo, QueueRow> queues_;
  std::map<QueueNo, QueueCounters> counted_;
  std::map<TypeNo, std::string> types_;
  std::map<TypeNo, TypeNo> renumbered_;  // types whose number no store can have got to,
  std::set<TypeNo> given_anew_;          // and the numbers that they have now
  std::map<Lane, std::uint64_t> lanes_;
  std::set<std::string> keys_;  // of saved jobs, as rows of `unique`
  // The block and the range of the lane index that are being gathered.
  std::uint64_t block_no_ = ~std::uint64_t{0};
  BlockState block_;
  Bits256 in_place_;
  std::uint64_t range_no_ = 0;
  std::map<Lane, std::vector<std::uint16_t>> range_;
  std::string row_;
};

}  // namespace jobq::lmdb
