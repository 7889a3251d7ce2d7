// Everything that can still be read of a store whose file may be damaged anywhere, without LMDB: the sound rows, where the
// jobs are, and which keys may have been on pages that cannot be read. What becomes of it is decided in repair.cpp.
//
// A row is sound when its checksum fits its table and key, wherever it was found: in its tree, or on a page that no tree
// leads to any more. Errors: StoreError when nothing at all can be found. Thread-safety: none. Memory: 24 bytes per job,
// and the small tables as they are.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "broker/store/block_table.hpp"
#include "broker/store/lmdb_pages.hpp"
#include "broker/store/record.hpp"
#include "broker/store/rows.hpp"

namespace jobq::lmdb {

struct SalvagedJob {
  JobId job;
  RowPlace place;
  bool moved = false;  // found in `moved`
};

struct DamagedRow {
  Table table;
  std::string key;  // as it could be read
  std::string why;
};

class Salvage {
 public:
  explicit Salvage(const std::string& file);

  // ---- what was found ----
  std::vector<SalvagedJob> jobs;  // by id; of two, the one in `moved` first
  std::map<std::string, std::string, std::less<>> meta, queues, counters, types, dead, unique, producers,
      answers, finished;
  std::unordered_map<std::uint64_t, BlockState> blocks;  // with what is known of their leases
  std::unordered_set<std::uint64_t> block_rows;          // of which the bitmaps are known, not only leases
  std::vector<TimerKey> timers;  // kind due, where block rows are lost: evidence of a state
  std::unordered_map<std::uint64_t, RowPlace> progress;
  std::map<std::string, RowPlace, std::less<>> attempts, bodies;

  // ---- what was not ----
  std::vector<DamagedRow> damaged_rows;
  std::uint64_t unread_pages = 0;
  std::vector<std::string> page_texts;  // one per page that could not be read

  // Whether a row with this key may have been there and be lost.
  [[nodiscard]] bool may_be_lost(Table table, std::string_view key) const;
  [[nodiscard]] bool any_lost(Table table) const { return !lost_[static_cast<std::size_t>(table)].empty(); }
  [[nodiscard]] const std::vector<LostKeys>& lost(Table table) const {
    return lost_[static_cast<std::size_t>(table)];
  }

  // The value of a sound row; nullopt: it cannot be read any more. The view holds until the next call.
  std::optional<std::string_view> value_at(Table table, const RowPlace& place);

 private:
  void take(Table table, const StoredRow& row);
  bool keep(Table table, std::string_view key, std::string_view value, const RowPlace& place);
  void note_lost(Table table, LostKeys lost);

  PageFile file_;
  std::array<std::vector<LostKeys>, kTables> lost_;
  std::unordered_set<std::uint64_t> leases_seen_;
  std::array<std::string, kTables> last_key_;
  std::array<std::size_t, kTables>
      open_lost_{};  // damaged rows at the end of lost_ whose next sound key is to come
};

}  // namespace jobq::lmdb
