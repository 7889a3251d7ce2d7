// Tasks that go on after a restart: a row each in `meta`, under "task" and the number. A broker that does not know of them
// leaves them alone.
#include <fmt/format.h>

#include "broker/store/bytes_io.hpp"
#include "broker/store/lmdb_store.hpp"
#include "broker/store/store_checker.hpp"

namespace jobq::lmdb {
namespace {

constexpr std::string_view kTaskPrefix = "task";
constexpr std::string_view kNextTask = "next_task";

Key<12> task_key(std::uint64_t task) { return Key<12>{}.add_bytes(kTaskPrefix).add(task); }

// Rows that only begin like a task's are somebody else's.
std::optional<std::uint64_t> parse_task_key(std::string_view key) {
  if (!key.starts_with(kTaskPrefix) || key.size() != kTaskPrefix.size() + sizeof(std::uint64_t))
    return std::nullopt;
  return get_big_endian<std::uint64_t>(key.data() + kTaskPrefix.size());
}

void encode_task(const change::PutTask& put, std::string* out) {
  ByteWriter(out)
      .number(static_cast<std::uint64_t>(put.kind))
      .number(put.queue)
      .number(put.filter.job.value)
      .number(put.filter.has_type ? 1 : 0)
      .text(put.filter.type)
      .text(put.filter.error_contains)
      .signed_number(put.filter.min_age_ms)
      .number(put.limit)
      .number(put.rate_per_s)
      .signed_number(put.started_at.ms)
      .number(put.cut.value)
      .number(put.after.value)
      .number(put.to_scan)
      .number(put.scanned)
      .number(put.moved)
      .number(put.skipped_expired);
}

change::PutTask decode_task(std::uint64_t task, std::string_view row) {
  ByteReader reader(row);
  change::PutTask put;
  put.number = task;
  const std::uint64_t kind = reader.number();
  if (kind > static_cast<std::uint64_t>(TaskKind::drop_dead)) {
    throw_damaged(fmt::format("task {} is of kind {}, which this version does not know", task, kind));
  }
  put.kind = static_cast<TaskKind>(kind);
  put.queue = reader.number32();
  put.filter.job.value = reader.number();
  put.filter.has_type = reader.number() != 0;
  put.filter.type = reader.text();
  put.filter.error_contains = reader.text();
  put.filter.min_age_ms = reader.signed_number();
  put.limit = reader.number();
  put.rate_per_s = reader.number32();
  put.started_at.ms = reader.signed_number();
  put.cut.value = reader.number();
  put.after.value = reader.number();
  put.to_scan = reader.number();
  put.scanned = reader.number();
  put.moved = reader.number();
  put.skipped_expired = reader.number();
  return put;
}

}  // namespace

void LmdbStore::apply(Batch* batch, const change::PutTask& put) {
  const auto next = batch->txn.get(Table::meta, kNextTask);
  if (!next || ByteReader(*next).number() <= put.number) {
    ByteWriter(&row_).number(put.number + 1);
    batch->txn.put(Table::meta, kNextTask, row_);
  }
  encode_task(put, &row_);
  batch->txn.put(Table::meta, task_key(put.number), row_);
}

void LmdbStore::apply(Batch* batch, const change::RemoveTask& remove) {
  batch->txn.erase(Table::meta, task_key(remove.task));
}

void LmdbStore::recover_tasks(const Txn& txn, Recovered* found) {
  if (const auto next = txn.get(Table::meta, kNextTask)) found->next_task = ByteReader(*next).number();
  // All rows, whatever their names: one that is damaged may be a task whose name has changed, and would be forgotten.
  Cursor cursor = txn.cursor(Table::meta);
  for (bool more = cursor.first(); more; more = cursor.next()) {
    const std::string_view row = cursor.sound_value();
    if (const auto task = parse_task_key(cursor.key())) found->tasks.push_back(decode_task(*task, row));
  }
}

// What recover_tasks() would refuse.
void StoreChecker::check_tasks() {
  Cursor cursor = txn_.cursor(Table::meta);
  for (bool more = cursor.first(); more; more = cursor.next()) {
    try {
      const std::string_view row = cursor.sound_value();
      if (cursor.key() == kNextTask) ByteReader(row).number();
      if (const auto task = parse_task_key(cursor.key())) decode_task(*task, row);
    } catch (const StoreError& error) {
      problem(Table::meta, cursor.key(), error.status().text());
    }
  }
}

}  // namespace jobq::lmdb
