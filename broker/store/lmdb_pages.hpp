// Reads the pages of a data file without LMDB: for a file that LMDB may not survive. Every offset, length and page number is
// checked before it is used, so that any bytes give rows or a complaint. The format is that of LMDB 0.9 on 64-bit
// little-endian machines, which has not changed since 2011.
//
//   PageFile file("data.mdb");                      // StoreError when no meta page can be used
//   file.walk(file.table_root(Table::jobs), leaf, lost);
//
// A row is handed out as it is stored, with its checksum; whether it is sound is the caller's question.
// Thread-safety: none. Views hold until the next call.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/store/store_files.hpp"
#include "broker/store/tables.hpp"

namespace jobq::lmdb {

// Where a row stands: enough to read it again.
struct RowPlace {
  std::uint64_t page = 0;
  std::uint16_t index = 0;
};

struct StoredRow {
  std::string_view key;
  std::string_view stored;  // value and checksum
  RowPlace place;
};

// Keys from `from` on and below `below` (empty: to the end) may have been on a page that cannot be read.
struct LostKeys {
  std::string from, below;
  std::uint64_t page = 0;
  std::string why;
};

class PageFile {
 public:
  explicit PageFile(const std::string& path);

  [[nodiscard]] std::uint64_t pages() const { return pages_; }
  [[nodiscard]] std::uint64_t last_page() const { return last_page_; }
  // Where a table's tree begins; nullopt: not known (the row that says so is lost), 0: the table is empty.
  [[nodiscard]] std::optional<std::uint64_t> table_root(Table table) const {
    return roots_[static_cast<std::size_t>(table)];
  }
  // What is wrong with the heads; empty: nothing.
  [[nodiscard]] const std::string& head_damage() const { return head_damage_; }
  // What was wrong with the list of tables itself.
  [[nodiscard]] const std::vector<LostKeys>& lost_tables() const { return lost_tables_; }
  // Whether every page that is not in use is known to be free: then pages that no tree leads to belong to lost ones.
  [[nodiscard]] bool free_pages_known() const { return free_known_; }

  using OnRow = std::function<void(const StoredRow& row)>;
  using OnLost = std::function<void(const LostKeys& lost)>;
  // All rows of the tree, in the order of its pages. A page that was read before is not read again: it is lost here.
  void walk(std::uint64_t root, const OnRow& row, const OnLost& lost);
  // All rows of leaves that no walk has met and that are not free. REQUIRES: every tree was walked.
  void orphans(const OnRow& row);
  // nullopt: it cannot be read.
  std::optional<StoredRow> row_at(const RowPlace& place);

 private:
  enum class Kind : std::uint8_t { branch, leaf };
  struct Node {
    std::string_view key;
    std::uint64_t child = 0;  // of a branch
    std::string_view value;   // of a leaf
    bool big = false;         // the value is on pages of its own: `child`
    std::uint32_t bytes = 0;  // of the value
    std::uint16_t flags = 0;
  };

  bool read_page(std::uint64_t page, std::string* out) const;
  void read_free_list(std::uint64_t root);
  void read_table_list(std::uint64_t root);
  // nullptr: the page is one of `kind`; otherwise what is wrong.
  const char* check_page(std::string_view bytes, Kind* kind) const;
  [[nodiscard]] std::uint16_t nodes(std::string_view bytes) const;
  std::optional<Node> node(std::string_view bytes, std::uint16_t index, Kind kind) const;
  void walk_page(std::uint64_t page, const std::string& from, const std::string& below, int depth,
                 const OnRow& row, const OnLost& lost);
  void walk_leaf(std::uint64_t page, std::string_view bytes, const std::string& from,
                 const std::string& below, const OnRow& row, const OnLost& lost);
  // The value, from the page or from its overflow pages; nullopt: those cannot be read.
  std::optional<std::string_view> value_of(const Node& node);

  Fd fd_;
  std::string path_;
  std::uint64_t pages_ = 0, last_page_ = 0;
  std::string head_damage_;
  std::vector<bool> seen_, free_;
  bool free_known_ = false;
  std::array<std::optional<std::uint64_t>, kTables> roots_{};
  std::vector<LostKeys> lost_tables_;
  std::string value_, cached_;
  std::uint64_t cached_page_ = 0;
};

}  // namespace jobq::lmdb
