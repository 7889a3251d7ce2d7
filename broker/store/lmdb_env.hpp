// A thin RAII layer over LMDB, and the only way to it: no other file includes lmdb.h. Every value carries a
// checksum over its table, key and value, added and checked here.
//
// Errors: throws StoreError, which does not leave broker/store: the public functions turn it into a Status.
// Ownership: an Env outlives its transactions; views into the store hold until the transaction ends or, in a
// write transaction, until the next change. Thread-safety: one thread, except Env::copy_to().
#pragma once

#include <array>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/store/lmdb_options.hpp"
#include "broker/store/tables.hpp"
#include "jobq/status.hpp"

struct MDB_env;
struct MDB_txn;
struct MDB_cursor;

namespace jobq::lmdb {

class StoreError : public std::exception {
 public:
  StoreError(Code code, StoreProblem problem, std::string text)
      : status_(code, std::move(text)), problem_(problem) {}
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] StoreProblem problem() const { return problem_; }
  [[nodiscard]] const char* what() const noexcept override { return status_.text().c_str(); }

 private:
  Status status_;
  StoreProblem problem_;
};

[[noreturn]] void throw_damaged(std::string text);

inline constexpr std::size_t kChecksumBytes = 8;
std::uint64_t checksum(Table table, std::string_view key, std::string_view value);

// What a lookup found. A damaged record is there, but its checksum does not fit; value is then what could be
// read.
struct Found {
  bool present = false;
  bool damaged = false;
  std::string_view value;
};

enum class Put : std::uint8_t { upsert, append };

struct EnvInfo {
  std::uint64_t map_bytes = 0;
  std::uint64_t page_bytes = 0;
  std::uint64_t end_bytes = 0;  // the first byte behind the last page ever used
  std::uint64_t last_txn = 0;
  std::uint64_t readers = 0;
};
// A read transaction that is open, of this process or another one.
struct Reader {
  std::int64_t pid = 0;
  std::uint64_t txn = 0;  // reads what this transaction had left
};
struct TableStat {
  std::uint64_t entries = 0, depth = 0;
  std::uint64_t branch_pages = 0, leaf_pages = 0, overflow_pages = 0;
};

class Env {
 public:
  enum class Mode : std::uint8_t { create, read_write, read_only };
  // `file` is the data file itself; LMDB's own lock file is that name with "-lock" behind it.
  Env(const std::string& file, std::uint64_t map_bytes, Mode mode);
  ~Env();
  Env(const Env&) = delete;
  Env& operator=(const Env&) = delete;

  [[nodiscard]] EnvInfo info() const;
  // Clears reader slots of dead processes. Returns how many there were.
  int check_readers();
  [[nodiscard]] std::vector<Reader> readers() const;
  // Writes a consistent, compacted copy to an open file descriptor. Any thread.
  void copy_to(int fd) const;

 private:
  friend class Txn;
  MDB_env* env_ = nullptr;
  std::array<unsigned int, kTables> dbi_{};
};

// Where a cursor stands. Views hold as long as those of the transaction.
struct Row {
  std::string_view key;
  std::string_view value;
  bool damaged = false;
};

class Txn;
class Cursor {
 public:
  Cursor() = default;
  ~Cursor();
  Cursor(Cursor&& other) noexcept;
  Cursor& operator=(Cursor&& other) noexcept;
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;

  // Each returns false when there is no such row. seek: the first row at or after the key.
  bool seek(std::string_view key);
  bool find(std::string_view key);
  bool first();
  bool last();
  bool next();
  // Deletes the row it stands on; next() then goes to the row behind it.
  void erase();
  // Of where it stands, without a look at the value.
  [[nodiscard]] std::string_view key() const { return row_.key; }
  // The checksum is computed when the row is first asked for.
  [[nodiscard]] const Row& row() const;
  // The value, or StoreError when the checksum does not fit.
  [[nodiscard]] std::string_view sound_value() const;

 private:
  friend class Txn;
  Cursor(MDB_cursor* cursor, Table table) : cursor_(cursor), table_(table) {}
  bool move(int operation, std::string_view key);
  MDB_cursor* cursor_ = nullptr;
  Table table_ = Table::meta;
  mutable Row row_;  // unchecked: its value is still what is stored, with the checksum behind it
  mutable bool checked_ = false;
};

class Txn {
 public:
  enum class Kind : std::uint8_t { read, write };
  Txn(Env* env, Kind kind);
  ~Txn();  // aborts unless committed
  Txn(const Txn&) = delete;
  Txn& operator=(const Txn&) = delete;

  [[nodiscard]] Found look(Table table, std::string_view key) const;
  // The value; nullopt when absent; StoreError when damaged.
  [[nodiscard]] std::optional<std::string_view> get(Table table, std::string_view key) const;

  void put(Table table, std::string_view key, std::string_view value, Put mode = Put::upsert);
  // Makes room for a value of `bytes` and lets fill(char*) write it in place.
  template <typename Fill>
  void put_in_place(Table table, std::string_view key, std::size_t bytes, Put mode, Fill fill) {
    char* room = reserve(table, key, bytes, mode);
    fill(room);
    seal(table, key, room, bytes);
  }
  // Stores a value with a checksum that does not fit: a damaged record that is moved stays known as damaged.
  void put_unsound(Table table, std::string_view key, std::string_view value);
  bool erase(Table table, std::string_view key);
  void clear(Table table);  // offline repair only

  [[nodiscard]] Cursor cursor(Table table) const;
  [[nodiscard]] TableStat stat(Table table) const;
  // Pages that are free for reuse, by walking LMDB's list of them.
  [[nodiscard]] std::uint64_t free_pages() const;
  void commit();

 private:
  char* reserve(Table table, std::string_view key, std::size_t bytes, Put mode);
  static void seal(Table table, std::string_view key, char* room, std::size_t bytes);
  MDB_cursor* kept_cursor(Table table) const;

  Env* env_;
  Kind kind_;
  MDB_txn* txn_ = nullptr;
  // One for each table that was used, opened when it first is: neighbouring keys are found without a descent
  // from the root.
  mutable std::array<MDB_cursor*, kTables> cursors_{};
};

}  // namespace jobq::lmdb
