#include "broker/store/lmdb_env.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <lmdb.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "broker/store/lmdb_heads.hpp"
#include "broker/store/store_files.hpp"
#include "libjobq/base/bytes.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/hash.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq::lmdb {
namespace {

constexpr mdb_mode_t kFileMode = 0640;

// What an error code of LMDB (or errno) means for whoever has to act on it.
[[noreturn]] void fail(int rc, const char* doing) {
  const std::string text = fmt::format("{}: {}", doing, mdb_strerror(rc));
  switch (rc) {
    case MDB_MAP_FULL:
      throw StoreError(Code::store_full, StoreProblem::no_space,
                       text + "; raise the store's size limit or remove jobs");
    case ENOSPC:
    case EDQUOT:
      throw StoreError(Code::disk_full, StoreProblem::no_space, text + "; free disk space");
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_VERSION_MISMATCH:
    case MDB_BAD_TXN:
      throw StoreError(Code::corruption, StoreProblem::damaged, text);
    case EROFS:
      throw StoreError(Code::io_error, StoreProblem::read_only, text);
    case EACCES:
    case EPERM:
      throw StoreError(Code::io_error, StoreProblem::read_only, text + "; check owner and mode");
    default:
      throw StoreError(Code::io_error, StoreProblem::io, text);
  }
}

void must(int rc, const char* doing) {
  if (rc != MDB_SUCCESS) [[unlikely]] {
    fail(rc, doing);
  }
}

MDB_val to_val(std::string_view bytes) {
  // LMDB takes non-const pointers and does not write through them.
  return MDB_val{bytes.size(), const_cast<char*>(bytes.data())};
}
std::string_view to_view(const MDB_val& val) { return {static_cast<const char*>(val.mv_data), val.mv_size}; }

std::size_t index_of(Table table) { return static_cast<std::size_t>(table); }

std::string printable(std::string_view key) {
  std::string text;
  for (const char c : key) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

// Splits off and checks the checksum.
Row checked(Table table, std::string_view key, std::string_view stored) {
  Row row{.key = key, .value = stored, .damaged = true};
  if (stored.size() < kChecksumBytes) return row;
  row.value = stored.substr(0, stored.size() - kChecksumBytes);
  row.damaged =
      get_big_endian<std::uint64_t>(stored.data() + row.value.size()) != checksum(table, key, row.value) &&
      !JOBQ_PLANTED(checksum_ignored);
  return row;
}

std::string_view require_sound(Table table, const Row& row) {
  if (row.damaged) [[unlikely]] {
    throw_damaged(fmt::format("table {} key {}: the checksum does not fit; run 'jobq check'", name_of(table),
                              printable(row.key)));
  }
  return row.value;
}

// LMDB would go on with an older state.
void require_sound_heads(const std::string& file) {
  const Fd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.open()) fail(errno, fmt::format("cannot open {}", file).c_str());
  const Heads heads(fd.get());
  if (heads.contradict()) {
    throw_damaged(fmt::format(
        "{} is damaged: {}; restore a backup, or save what there is with 'jobq check DIR --repair NEW_DIR'",
        file, heads.damage()));
  }
}

}  // namespace

void throw_damaged(std::string text) {
  throw StoreError(Code::corruption, StoreProblem::damaged, std::move(text));
}

std::uint64_t checksum(Table table, std::string_view key, std::string_view value) {
  return hash64(value) + hash64(key, std::uint64_t{1} + static_cast<std::uint8_t>(table));
}

// ---- Env --------------------------------------------------------------------------------------

Env::Env(const std::string& file, std::uint64_t map_bytes, Mode mode) {
  must(mdb_env_create(&env_), "cannot set up LMDB");
  try {
    must(mdb_env_set_mapsize(env_, map_bytes), "cannot set the store's size limit");
    must(mdb_env_set_maxdbs(env_, static_cast<MDB_dbi>(kTables)), "cannot set up LMDB");
    // NOTLS: read transactions belong to objects, not to threads. Never WRITEMAP, NOSYNC, NOMETASYNC (they
    // lose or damage what was confirmed) nor NORDAHEAD (a cold scan is twelve times slower).
    unsigned int flags = MDB_NOTLS | MDB_NOSUBDIR;
    // Read only: offline, behind the lock of the directory. No file is made or touched.
    if (mode == Mode::read_only) flags |= MDB_RDONLY | MDB_NOLOCK;
    if (JOBQ_PLANTED(commits_not_synced)) flags |= MDB_NOSYNC;
    if (JOBQ_PLANTED(meta_page_not_synced)) flags |= MDB_NOMETASYNC;
    const std::string opening = fmt::format("cannot open {}", file);
    if (mode != Mode::create) require_sound_heads(file);
    must(mdb_env_open(env_, file.c_str(), flags, kFileMode), opening.c_str());

    // Pages behind the end of the file would end the process when they are touched.
    if (const std::uint64_t bytes = std::filesystem::file_size(file);
        mode != Mode::create && bytes < info().end_bytes) {
      throw_damaged(fmt::format("{} was cut off: it has {} bytes of {}; restore it from a backup", file,
                                bytes, info().end_bytes));
    }
    MDB_txn* txn = nullptr;
    must(mdb_txn_begin(env_, nullptr, mode == Mode::create ? 0U : MDB_RDONLY, &txn), opening.c_str());
    for (std::size_t table = 0; table < kTables; ++table) {
      const int rc =
          mdb_dbi_open(txn, kTableNames[table], mode == Mode::create ? MDB_CREATE : 0, &dbi_[table]);
      if (rc != MDB_SUCCESS) {
        mdb_txn_abort(txn);
        if (rc == MDB_NOTFOUND) {
          throw StoreError(
              Code::corruption, StoreProblem::not_a_store,
              fmt::format("{} has no table '{}': this is not a store of jobq", file, kTableNames[table]));
        }
        fail(rc, opening.c_str());
      }
    }
    must(mdb_txn_commit(txn), opening.c_str());
  } catch (...) {
    mdb_env_close(env_);
    throw;
  }
}

Env::~Env() { mdb_env_close(env_); }

EnvInfo Env::info() const {
  MDB_envinfo info{};
  MDB_stat stat{};
  must(mdb_env_info(env_, &info), "cannot read the store's size");
  must(mdb_env_stat(env_, &stat), "cannot read the store's size");
  return {.map_bytes = info.me_mapsize,
          .page_bytes = stat.ms_psize,
          .end_bytes = (info.me_last_pgno + 1) * std::uint64_t{stat.ms_psize},
          .last_txn = info.me_last_txnid,
          .readers = info.me_numreaders};
}

int Env::check_readers() {
  int dead = 0;
  must(mdb_reader_check(env_, &dead), "cannot check the store's readers");
  return dead;
}

std::vector<Reader> Env::readers() const {
  std::vector<Reader> found;
  // LMDB tells them as lines only: process, thread (hexadecimal), and the transaction, or '-' where nothing is being read.
  const auto take = [](const char* line, void* to) {
    Reader reader;
    if (std::sscanf(line, "%" SCNd64 " %*s %" SCNu64, &reader.pid, &reader.txn) == 2)
      static_cast<std::vector<Reader>*>(to)->push_back(reader);
    return 0;
  };
  must(mdb_reader_list(env_, take, &found), "cannot list the store's readers");
  return found;
}

void Env::copy_to(int fd) const { must(mdb_env_copyfd2(env_, fd, MDB_CP_COMPACT), "cannot copy the store"); }

// ---- Cursor -----------------------------------------------------------------------------------

Cursor::~Cursor() {
  if (cursor_ != nullptr) mdb_cursor_close(cursor_);
}
Cursor::Cursor(Cursor&& other) noexcept
    : cursor_(std::exchange(other.cursor_, nullptr)),
      table_(other.table_),
      row_(other.row_),
      checked_(other.checked_) {}
Cursor& Cursor::operator=(Cursor&& other) noexcept {
  std::swap(cursor_, other.cursor_);
  table_ = other.table_;
  row_ = other.row_;
  checked_ = other.checked_;
  return *this;
}

bool Cursor::move(int operation, std::string_view key) {
  MDB_val k = to_val(key);
  MDB_val v{};
  const int rc = mdb_cursor_get(cursor_, &k, &v, static_cast<MDB_cursor_op>(operation));
  if (rc == MDB_NOTFOUND || rc == EINVAL) return false;  // EINVAL: not positioned, the table is empty
  must(rc, "cannot read the store");
  row_ = {.key = to_view(k), .value = to_view(v)};
  checked_ = false;
  return true;
}

const Row& Cursor::row() const {
  if (!checked_) row_ = checked(table_, row_.key, row_.value);
  checked_ = true;
  return row_;
}

bool Cursor::seek(std::string_view key) { return move(MDB_SET_RANGE, key); }
bool Cursor::find(std::string_view key) { return move(MDB_SET_KEY, key); }
bool Cursor::first() { return move(MDB_FIRST, {}); }
bool Cursor::last() { return move(MDB_LAST, {}); }
bool Cursor::next() { return move(MDB_NEXT, {}); }
void Cursor::erase() { must(mdb_cursor_del(cursor_, 0), "cannot delete from the store"); }
std::string_view Cursor::sound_value() const { return require_sound(table_, row()); }

// ---- Txn --------------------------------------------------------------------------------------

Txn::Txn(Env* env, Kind kind) : env_(env), kind_(kind) {
  if (JOBQ_PLANTED(map_grown_under_a_reader) && kind == Kind::write)
    must(mdb_env_set_mapsize(env->env_, env->info().map_bytes + (std::size_t{1} << 20)), "cannot grow");
  must(mdb_txn_begin(env->env_, nullptr, kind == Kind::read ? MDB_RDONLY : 0U, &txn_),
       "cannot begin a transaction");
}

Txn::~Txn() {
  if (txn_ == nullptr || JOBQ_PLANTED(readers_leak)) return;
  // LMDB frees the cursors of a write transaction with it, and leaves those of a read transaction to us.
  if (kind_ == Kind::read) {
    for (MDB_cursor* cursor : cursors_) {
      if (cursor != nullptr) mdb_cursor_close(cursor);
    }
  }
  mdb_txn_abort(txn_);
}

Found Txn::look(Table table, std::string_view key) const {
  MDB_val k = to_val(key);
  MDB_val v{};
  const int rc = mdb_cursor_get(kept_cursor(table), &k, &v, MDB_SET);
  if (rc == MDB_NOTFOUND) return {};
  must(rc, "cannot read the store");
  const Row row = checked(table, key, to_view(v));
  return {.present = true, .damaged = row.damaged, .value = row.value};
}

std::optional<std::string_view> Txn::get(Table table, std::string_view key) const {
  const Found found = look(table, key);
  if (!found.present) return std::nullopt;
  return require_sound(table, Row{.key = key, .value = found.value, .damaged = found.damaged});
}

MDB_cursor* Txn::kept_cursor(Table table) const {
  MDB_cursor*& cursor = cursors_[index_of(table)];
  if (cursor == nullptr) {
    must(mdb_cursor_open(txn_, env_->dbi_[index_of(table)], &cursor), "cannot use the store");
  }
  return cursor;
}

char* Txn::reserve(Table table, std::string_view key, std::size_t bytes, Put mode) {
  MDB_val k = to_val(key);
  MDB_val v{bytes + kChecksumBytes, nullptr};
  const unsigned int flags = MDB_RESERVE | (mode == Put::append ? MDB_APPEND : 0U);
  must(mdb_cursor_put(kept_cursor(table), &k, &v, flags), "cannot write the store");
  return static_cast<char*>(v.mv_data);
}

void Txn::seal(Table table, std::string_view key, char* room, std::size_t bytes) {
  const std::uint64_t sum = to_big_endian(checksum(table, key, {room, bytes}));
  std::memcpy(room + bytes, &sum, sizeof sum);
}

void Txn::put(Table table, std::string_view key, std::string_view value, Put mode) {
  put_in_place(table, key, value.size(), mode, [&](char* room) {
    if (!value.empty()) std::memcpy(room, value.data(), value.size());
  });
}

void Txn::put_unsound(Table table, std::string_view key, std::string_view value) {
  char* room = reserve(table, key, value.size(), Put::upsert);
  if (!value.empty()) std::memcpy(room, value.data(), value.size());
  const std::uint64_t sum = to_big_endian(~checksum(table, key, {room, value.size()}));
  std::memcpy(room + value.size(), &sum, sizeof sum);
}

bool Txn::erase(Table table, std::string_view key) {
  MDB_val k = to_val(key);
  MDB_cursor* cursor = kept_cursor(table);
  MDB_val v{};
  const int rc = mdb_cursor_get(cursor, &k, &v, MDB_SET);
  if (rc == MDB_NOTFOUND) return false;
  must(rc, "cannot read the store");
  must(mdb_cursor_del(cursor, 0), "cannot delete from the store");
  return true;
}

void Txn::clear(Table table) { must(mdb_drop(txn_, env_->dbi_[index_of(table)], 0), "cannot empty a table"); }

Cursor Txn::cursor(Table table) const {
  MDB_cursor* cursor = nullptr;
  must(mdb_cursor_open(txn_, env_->dbi_[index_of(table)], &cursor), "cannot read the store");
  return Cursor(cursor, table);
}

TableStat Txn::stat(Table table) const {
  MDB_stat stat{};
  must(mdb_stat(txn_, env_->dbi_[index_of(table)], &stat), "cannot read the store");
  return {.entries = stat.ms_entries,
          .depth = stat.ms_depth,
          .branch_pages = stat.ms_branch_pages,
          .leaf_pages = stat.ms_leaf_pages,
          .overflow_pages = stat.ms_overflow_pages};
}

std::uint64_t Txn::free_pages() const {
  constexpr MDB_dbi kFreeList = 0;  // each row: a count, then so many page numbers
  MDB_cursor* cursor = nullptr;
  must(mdb_cursor_open(txn_, kFreeList, &cursor), "cannot read the store");
  std::uint64_t pages = 0;
  MDB_val k{};
  MDB_val v{};
  while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == MDB_SUCCESS) {
    std::size_t count = 0;
    std::memcpy(&count, v.mv_data, sizeof count);
    pages += count;
  }
  mdb_cursor_close(cursor);
  return pages;
}

void Txn::commit() {
  // LMDB frees the transaction and its cursors whatever comes of it.
  const int rc = mdb_txn_commit(std::exchange(txn_, nullptr));
  if (JOBQ_PLANTED(meta_error_ignored) && rc == EIO &&
      mdb_txn_begin(env_->env_, nullptr, MDB_RDONLY, &txn_) == MDB_PANIC)
    return;
  if (!JOBQ_PLANTED(commit_error_ignored)) must(rc, "cannot commit");
}

}  // namespace jobq::lmdb
