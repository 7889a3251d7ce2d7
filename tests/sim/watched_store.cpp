#include "tests/sim/watched_store.hpp"

namespace jobq::sim {
namespace {

constexpr std::uint64_t kRates = 100'000;

}  // namespace

void WatchedStore::maybe_die() {
  if (parts_.faults->healed || parts_.mix->crash_at_commit == 0) return;
  if (parts_.prng->below(kRates) >= parts_.mix->crash_at_commit) return;
  ++parts_.faults->crashes;
  throw BrokerKilled{};
}

Result<Recovered> WatchedStore::recover() {
  Result<Recovered> recovered = parts_.below->recover();
  if (!recovered.ok()) return recovered;
  Prng prng = stream(parts_.seed, 6);
  for (std::uint8_t& byte : recovered->incarnation) byte = static_cast<std::uint8_t>(prng.below(256));
  recovered->secret = prng.next();
  return recovered;
}

Result<BatchNo> WatchedStore::submit(std::span<const Change> changes, const Mark& mark) {
  if (!failed_.ok()) return failed_;
  maybe_die();
  waiting_.emplace_back(changes, mark);
  return completed_ + waiting_.size();
}

Result<BatchNo> WatchedStore::completed(bool wait) {
  if (!failed_.ok()) return failed_;
  while (wait && !waiting_.empty()) {
    if (!parts_.faults->healed && parts_.mix->commit_ms > 0)
      parts_.pass(DurationMs{parts_.prng->between(0, parts_.mix->commit_ms)});
    maybe_die();
    OwnedBatch batch = std::move(waiting_.front());
    waiting_.pop_front();
    failed_ = write(&batch);
    if (!failed_.ok()) return failed_;
    maybe_die();
  }
  return completed_;
}

Status WatchedStore::write(OwnedBatch* batch) {
  if (!parts_.faults->healed && parts_.mix->failed_commits > 0 &&
      parts_.prng->below(kRates) < parts_.mix->failed_commits) {
    ++parts_.faults->failed_commits;
    parts_.ledger->note_fault("a commit failed");
    // The meta page's write is what failed: the batch may be on the disk, or not.
    if (parts_.prng->below(2) == 0) {
      const Result<BatchNo> done = parts_.below->submit(batch->changes, batch->mark);
      if (done.ok()) parts_.ledger->enter(batch->changes, batch->mark);
    }
    return {Code::io_error, "the simulated disk failed"};
  }
  const Result<BatchNo> done = parts_.below->submit(batch->changes, batch->mark);
  if (!done.ok()) return done.status();
  if (const Result<BatchNo> durable = parts_.below->completed(true); !durable.ok()) return durable.status();
  parts_.ledger->enter(batch->changes, batch->mark);
  ++completed_;
  return {};
}

StoreHealth WatchedStore::health() {
  StoreHealth health;
  health.map_bytes = std::uint64_t{1} << 38;
  health.used_bytes = std::uint64_t{1} << 20;
  health.file_bytes = std::uint64_t{1} << 21;
  health.disk_free_bytes = parts_.faults->disk_full ? 0 : std::uint64_t{1} << 40;
  health.commits = parts_.ledger->batches();
  return health;
}

}  // namespace jobq::sim
