#include "broker/store/lmdb_store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "libjobq/base/check.hpp"

namespace jobq {
namespace lmdb {
namespace {

constexpr std::int64_t kReaderCheckMs = 60'000;
constexpr std::int64_t kFreeCountMs = 1'000;  // counting free pages walks a list: not more often than this
// What a batch may need besides its bodies: a job touches a handful of pages at worst.
constexpr std::uint64_t kRowBytes = 512;
constexpr std::uint64_t kPageBytes = 4096;

std::int64_t steady_us() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(since).count();
}

}  // namespace

LmdbStore::LmdbStore(const LmdbOptions& options)
    : options_(options),
      blocks_(options.cached_blocks_max),
      soon_(DurationMs{options.soon_ms}, options.soon_timers_max) {
  prepare_directory(options_.path, options_.allow_network_fs);
  lock_ = lock_directory(options_.path);
  const bool created = create_if_absent(options_.path, options_.map_bytes);
  const std::string file = data_file(options_.path);
  env_ = std::make_unique<Env>(file, options_.map_bytes, Env::Mode::read_write);
  if (created && options_.log) options_.log(fmt::format("made a new store in {}", options_.path));
  require_format(env_.get(), file);
  preallocation_ = Preallocation(file, options_.preallocate ? options_.preallocate_step_bytes : 0,
                                 options_.map_bytes, options_.log);
}

// ---- one batch --------------------------------------------------------------------------------

// How much the file may have to grow for a batch.
std::uint64_t LmdbStore::batch_bytes(std::span<const Change> changes) const {
  std::uint64_t bytes = changes.size() * kRowBytes;
  for (const Change& change : changes) {
    if (const auto* enqueue = std::get_if<change::Enqueue>(&change)) {
      const std::uint64_t size = enqueue->meta.bytes;
      bytes += size < kPageBytes / 2 ? size : size + 2 * kPageBytes;
    }
  }
  return bytes;
}

Result<BatchNo> LmdbStore::submit(std::span<const Change> changes, const Mark& mark) {
  JOBQ_CHECK(recovered_, "recover() comes first");
  if (failure_) return *failure_;
  try {
    const std::int64_t begun_us = steady_us();
    reader_.reset();  // pages that it sees could not be used again
    preallocation_.keep_ahead(env_->info().end_bytes, batch_bytes(changes));
    {
      Batch batch{.txn = Txn(env_.get(), Txn::Kind::write), .next_job = next_job(), .now = mark.now.engine};
      for (const Change& change : changes) std::visit([&](const auto& one) { apply(&batch, one); }, change);
      finish_batch(&batch, mark);
      batch.txn.commit();
    }
    mark_.mark = mark;
    mark_.indexed_below = index_.indexed_below();
    blocks_.evict();
    stop_backup_that_holds_back_too_much();
    const std::int64_t now_us = steady_us();
    ++health_.commits;
    health_.commit_us_last = static_cast<std::uint64_t>(now_us - begun_us);
    health_.commit_us_max = std::max(health_.commit_us_max, health_.commit_us_last);
    if (now_us - begun_us >= kSlowCommit.ms * 1000) ++health_.slow_commits;
    if (now_us / 1000 - readers_checked_ms_ > kReaderCheckMs) {
      readers_checked_ms_ = now_us / 1000;
      env_->check_readers();
      watch_readers(env_->info().last_txn, readers_checked_ms_);
    }
    return ++batch_;
  } catch (const StoreError& error) {
    return fail_for_good(error);
  }
}

void LmdbStore::finish_batch(Batch* batch, const Mark& mark) {
  JOBQ_CHECK(mark.next_job >= batch->next_job, "next job {}", mark.next_job.value);
  for (; batch->next_job < mark.next_job; ++batch->next_job.value) {  // numbers that belong to nobody
    Block& block = block_in(batch, batch->next_job);
    block.finished.set(bit_of(batch->next_job));
    blocks_.mark_bits(&block);
  }
  index_.write(&batch->txn, &blocks_, batch->next_job);
  sweeper_.sweep(&batch->txn, &blocks_, batch->next_job, mark.now.engine);
  blocks_.flush(&batch->txn);
  blocks_.next_batch();
  encode_mark({.mark = mark, .indexed_below = index_.indexed_below()}, &row_);
  batch->txn.put(Table::meta, meta_key::kMark, row_);
}

// Memory is ahead of disk now, and whether a failed commit reached the disk is not known: nothing goes on
// from here.
Status LmdbStore::fail_for_good(const StoreError& error) {
  Status status = error.status();
  // A short write on a full disk is reported as an input/output error.
  if (status.code() == Code::io_error && disk_free_bytes(options_.path) < kPageBytes) {
    status = Status(Code::disk_full, status.text() + " (the disk is full; free disk space)");
  }
  failure_ = status;
  return status;
}

Result<BatchNo> LmdbStore::completed(bool /*wait*/) {
  if (failure_) return *failure_;
  return batch_;
}

// ---- the whole store --------------------------------------------------------------------------

// The readers' table has no times. A reader that is behind the newest transaction has been there since before that.
void LmdbStore::watch_readers(std::uint64_t newest, std::int64_t now_ms) {
  std::map<std::uint64_t, std::int64_t> seen;
  health_.oldest_reader_ms = 0;
  health_.oldest_reader_pid = 0;
  std::uint64_t oldest = newest;
  const auto is_old = [&](const Reader& reader) { return reader.txn < newest; };
  std::vector<Reader> readers = env_->readers();
  if (std::ranges::any_of(readers, is_old) && env_->check_readers() > 0)
    readers = env_->readers();  // some were dead
  for (const Reader& reader : readers) {
    if (!is_old(reader)) continue;
    const auto known = old_readers_.find(reader.txn);
    const std::int64_t since = known == old_readers_.end() ? now_ms : known->second;
    seen[reader.txn] = since;
    if (reader.txn >= oldest) continue;
    oldest = reader.txn;
    health_.oldest_reader_pid = reader.pid;
    health_.oldest_reader_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(now_ms - since, 1));
  }
  old_readers_ = std::move(seen);
}

StoreHealth LmdbStore::health() {
  if (failure_) return health_;
  try {
    const EnvInfo info = env_->info();
    const std::int64_t now_ms = steady_us() / 1000;
    const bool stale = free_pages_counted_at_ != health_.commits || health_.file_bytes == 0;
    if (stale && (now_ms - free_pages_counted_ms_ >= kFreeCountMs || health_.file_bytes == 0)) {
      const Txn txn(env_.get(), Txn::Kind::read);
      health_.free_bytes = txn.free_pages() * info.page_bytes;
      free_pages_counted_at_ = health_.commits;
      free_pages_counted_ms_ = now_ms;
    }
    watch_readers(info.last_txn, now_ms);
    health_.map_bytes = info.map_bytes;
    health_.used_bytes = info.end_bytes - std::min(info.end_bytes, health_.free_bytes);
    health_.file_bytes = std::max(preallocation_.file_bytes(), info.end_bytes);
    health_.disk_free_bytes = preallocation_.disk_full() ? 0 : disk_free_bytes(options_.path);
  } catch (const StoreError& error) {
    if (options_.log) options_.log(error.status().text());
  }
  return health_;
}

}  // namespace lmdb

const char* to_string(StoreProblem problem) {
  switch (problem) {
    case StoreProblem::none:
      return "none";
    case StoreProblem::already_open:
      return "already_open";
    case StoreProblem::not_a_store:
      return "not_a_store";
    case StoreProblem::newer_format:
      return "newer_format";
    case StoreProblem::damaged:
      return "damaged";
    case StoreProblem::no_space:
      return "no_space";
    case StoreProblem::read_only:
      return "read_only";
    case StoreProblem::network_fs:
      return "network_fs";
    case StoreProblem::io:
      return "io";
    case StoreProblem::not_empty:
      return "not_empty";
    case StoreProblem::interrupted:
      return "interrupted";
  }
  return "?";
}

Result<std::unique_ptr<Store>> open_lmdb_store(const LmdbOptions& options, StoreProblem* problem) {
  StoreProblem ignored = StoreProblem::none;
  StoreProblem& why = problem != nullptr ? *problem : ignored;
  why = StoreProblem::none;
  try {
    return std::unique_ptr<Store>(std::make_unique<lmdb::LmdbStore>(options));
  } catch (const lmdb::StoreError& error) {
    why = error.problem();
    return error.status();
  }
}

}  // namespace jobq
