// Reads: those between two batches in one transaction, since beginning one costs more than most reads.
#include <algorithm>
#include <utility>

#include "broker/store/bytes_io.hpp"
#include "broker/store/lmdb_store.hpp"
#include "libjobq/base/check.hpp"

namespace jobq::lmdb {
namespace {

constexpr std::size_t kScanMax = 65'536;  // ids looked at for one page of a lane

}  // namespace

// Runs read(txn) and turns what it throws into a Status.
template <typename T, typename Read>
Result<T> LmdbStore::reading(Read read) {
  if (failure_) return *failure_;
  try {
    if (!reader_) reader_.emplace(env_.get(), Txn::Kind::read);
    return read(std::as_const(*reader_));
  } catch (const StoreError& error) {
    reader_.reset();
    return error.status();
  }
}

void LmdbStore::note_damage(JobId job) {
  ++health_.damaged_records;
  if (options_.log) {
    options_.log("job " + to_text(job) +
                 ": its stored record is damaged or missing; run 'jobq check' on the store");
  }
}

Found LmdbStore::look_record(const Txn& txn, const Block& block, JobId job) const {
  return txn.look(block.moved.test(bit_of(job)) ? Table::moved : Table::jobs, job_key(job));
}

std::optional<JobRecord> LmdbStore::read_record(const Found& found, JobId job) {
  if (found.present && !found.damaged) {
    if (auto record = decode_record(job, found.value)) return record;
  }
  note_damage(job);
  return std::nullopt;
}

// What is said of every JobMeta above LanePage in store.hpp.
void LmdbStore::add_progress(const Txn& txn, const Block& block, JobMeta* meta) const {
  const std::uint8_t bit = bit_of(meta->id);
  const JobState state = block.state(bit);
  const TimeMs first_due = meta->due;
  TimeMs due = meta->due;
  Clock due_clock = meta->due_clock;
  if (block.has_progress.test(bit)) {
    const auto row = txn.get(Table::progress, job_key(meta->id));
    if (!row) throw_damaged("job " + to_text(meta->id) + ": its progress is missing; run 'jobq check'");
    const ProgressRow progress = decode_progress(*row);
    meta->progress = progress.progress;
    meta->has_progress = true;
    due = progress.due;
    due_clock = progress.due_clock;
  } else if (state == JobState::ready) {
    meta->progress.ready_since = first_due;
  }
  meta->due = state == JobState::scheduled ? due : TimeMs{};
  meta->due_clock = state == JobState::scheduled ? due_clock : Clock::engine;
}

// A job whose record is damaged is handed out all the same: its delivery finds the damage, and puts it among
// the dead where people see it. Skipping it would hide it.
JobMeta LmdbStore::meta_or_stub(const Txn& txn, const Block& block, JobId job, const Lane& lane) {
  JobMeta meta;
  const Found found = look_record(txn, block, job);
  const auto record = found.present ? decode_record(job, found.value) : std::nullopt;
  if (!record || found.damaged) note_damage(job);
  // What can be read of a damaged one is mostly right: its counters should come out even.
  const bool plausible = record && (!found.damaged || lane.queue == 0 || record->meta.lane == lane);
  if (plausible) {
    meta = record->meta;
  } else {
    meta.id = job;
    meta.lane = lane;
  }
  add_progress(txn, block, &meta);
  return meta;
}

Result<LanePage> LmdbStore::read_lane(const Lane& lane, JobId after, std::size_t limit) {
  auto page = reading<LanePage>([&](const Txn& txn) {
    LanePage found;
    const auto take = [&](JobId job, const Block& block) {
      if (found.jobs.size() == limit) return false;
      found.jobs.push_back(meta_or_stub(txn, block, job, lane));
      return true;
    };
    found.covered_to = index_.scan(txn, &blocks_, lane, after, next_job(), kScanMax, take, &found.end);
    return found;
  });
  blocks_.evict();
  return page;
}

std::vector<TimerEntry> LmdbStore::soon_timers(const Txn& txn, const TimerKey& from, std::size_t limit) {
  std::vector<TimerEntry> found;
  soon_.each_from(from.at, from.job, [&](TimeMs at, JobId job) {
    const TimerKey key{Clock::engine, at, job, TimerKind::due};
    const Block& block = blocks_.load(txn, block_of(job), next_job());
    if (key <= from || !block.soon.test(bit_of(job))) return true;
    const JobMeta meta = meta_or_stub(txn, block, job, Lane{});
    if (meta.due != at) return true;  // it was put off since, or nobody can read when it is due
    found.push_back({key, meta});
    return found.size() < limit;
  });
  return found;
}

Result<TimerPage> LmdbStore::read_timers(Clock clock, const TimerKey& after, std::size_t limit) {
  auto page = reading<TimerPage>([&](const Txn& txn) {
    TimerPage found;
    TimerKey from = after;
    from.clock = clock;
    std::vector<TimerEntry> soon;
    if (clock == Clock::engine) soon = soon_timers(txn, from, limit + 1);
    auto next_soon = soon.begin();
    const auto from_key = timer_key(from);
    Cursor cursor = txn.cursor(Table::timers);
    bool more = cursor.seek(from_key);
    if (more && cursor.key() == std::string_view(from_key)) more = cursor.next();
    while (true) {
      std::optional<TimerKey> key = more ? parse_timer_key(cursor.key()) : std::nullopt;
      if (more && !key) throw_damaged("table timers has a key that is none");
      if (key && key->clock != clock) key.reset();
      if (!key && next_soon == soon.end()) break;
      if (found.timers.size() == limit) return found;
      if (next_soon != soon.end() && (!key || next_soon->key < *key)) {
        found.timers.push_back(*next_soon++);
        continue;
      }
      if (cursor.row().damaged) throw_damaged("a timer does not check; run 'jobq check'");
      TimerEntry entry;
      entry.key = *key;
      if (key->kind != TimerKind::unique_hold) {
        const Block& block = blocks_.load(txn, block_of(key->job), next_job());
        entry.meta = meta_or_stub(txn, block, key->job, Lane{});
      }
      // Of a record that cannot be read nobody knows the queue: the job stays as it is, and the log and `jobq check` say so.
      if (entry.meta.lane.queue != 0 || key->kind == TimerKind::unique_hold) found.timers.push_back(entry);
      more = cursor.next();
    }
    found.end = true;
    return found;
  });
  blocks_.evict();
  return page;
}

Result<DeadPage> LmdbStore::read_dead(QueueNo queue, JobId after, std::size_t limit) {
  auto page = reading<DeadPage>([&](const Txn& txn) {
    DeadPage found;
    Cursor cursor = txn.cursor(Table::dead);
    for (bool more = cursor.seek(dead_key(queue, JobId{after.value + 1})); more; more = cursor.next()) {
      const auto key = parse_dead_key(cursor.key());
      if (!key) throw_damaged("table dead has a key of another length");
      if (key->queue != queue) break;
      if (found.jobs.size() == limit) return found;
      const DeadRow row = decode_dead(cursor.sound_value());
      const Block& block = blocks_.load(txn, block_of(key->job), next_job());
      DeadJob& dead = found.jobs.emplace_back();
      dead.meta = meta_or_stub(txn, block, key->job, Lane{.queue = queue});
      dead.reason = row.reason;
      dead.died_at = row.died_at;
      if (dead.meta.progress.attempts_recorded == 0) continue;
      const auto slot = attempt_slot(dead.meta.progress.attempts_recorded);
      if (const auto attempt = txn.get(Table::attempts, attempt_key(key->job, slot))) {
        dead.last_error = decode_attempt(*attempt).error;
      }
    }
    found.end = true;
    return found;
  });
  blocks_.evict();
  return page;
}

Result<JobFact> LmdbStore::read_job(JobId job) {
  return reading<JobFact>([&](const Txn& txn) {
    JobFact fact;
    if (!was_given_out(job)) return fact;
    const Block& block = blocks_.load(txn, block_of(job), next_job());
    fact.state = block.state(bit_of(job));
    if (fact.state == JobState::gone) return fact;
    fact.known = true;
    fact.meta = meta_or_stub(txn, block, job, Lane{});
    return fact;
  });
}

Result<UniqueFact> LmdbStore::read_unique(QueueNo queue, std::string_view key) {
  return reading<UniqueFact>([&](const Txn& txn) {
    UniqueFact fact;
    const auto row = txn.get(Table::unique, unique_row_key(queue, key));
    if (!row) return fact;
    const UniqueRow unique = decode_unique(*row);
    fact.held = true;
    fact.holder = unique.holder;
    fact.body_hash = unique.body_hash;
    if (!unique.held_until.is_set()) {
      fact.state = blocks_.load(txn, block_of(unique.holder), next_job()).state(bit_of(unique.holder));
    }
    return fact;
  });
}

Result<std::vector<AttemptRecord>> LmdbStore::read_attempts(JobId job) {
  return reading<std::vector<AttemptRecord>>([&](const Txn& txn) {
    std::vector<AttemptRecord> attempts;
    const auto prefix = job_key(job);
    Cursor cursor = txn.cursor(Table::attempts);
    for (bool more = cursor.seek(prefix); more && cursor.key().starts_with(std::string_view(prefix));
         more = cursor.next()) {
      attempts.push_back(decode_attempt(cursor.sound_value()));
    }
    std::ranges::sort(attempts, {}, &AttemptRecord::number);
    return attempts;
  });
}

Result<std::optional<FinishedJob>> LmdbStore::read_finished(JobId job) {
  return reading<std::optional<FinishedJob>>([&](const Txn& txn) -> std::optional<FinishedJob> {
    const auto key = txn.get(Table::finished_by_job, job_key(job));
    if (!key) return std::nullopt;
    const auto row = txn.get(Table::finished, *key);
    const auto at = parse_dead_key(*key);  // the same shape: queue, then a number
    if (!row || !at) throw_damaged("job " + to_text(job) + ": its history row is missing; run 'jobq check'");
    FinishedJob finished{.summary = decode_finished(*row)};
    finished.summary.queue = at->queue;
    finished.summary.seq = at->job.value;
    return finished;
  });
}

bool LmdbStore::find_body_parts(const Txn& txn, const JobRecord& record, BodyPiece piece) {
  parts_.clear();
  const std::uint64_t body = record.body_bytes, from = std::min(piece.from, body);
  const std::uint64_t end = from + std::min(piece.bytes, body - from);
  Cursor cursor = txn.cursor(Table::bodies);
  for (std::uint64_t at = from / kBodyPartBytes * kBodyPartBytes; at < end; at += kBodyPartBytes) {
    const auto key = body_key(record.meta.id, static_cast<std::uint16_t>(at / kBodyPartBytes));
    const bool here = parts_.empty() ? cursor.find(key) : cursor.next();
    const bool sound = here && cursor.key() == std::string_view(key) && !cursor.row().damaged &&
                       cursor.row().value.size() == std::min<std::uint64_t>(kBodyPartBytes, body - at);
    if (!sound) return false;
    const std::uint64_t skipped = std::max(from, at) - at;
    parts_.push_back(cursor.row().value.substr(skipped, end - at - skipped));
  }
  return true;
}

namespace {

// Looks up records one after the other. Jobs that are handed out together were mostly enqueued one behind the other:
// then the next record is the next row, and needs no walk down the tree.
class RecordsInOrder {
 public:
  explicit RecordsInOrder(const Txn& txn) : cursor_(txn.cursor(Table::jobs)) {}
  Found look(JobId job) {
    const auto key = job_key(job);
    const bool here = at_.is_set() && job.value == at_.value + 1 && cursor_.next() &&
                      cursor_.key() == std::string_view(key);
    at_ = here || cursor_.find(key) ? job : JobId{};
    if (!at_.is_set()) return {};
    return {.present = true, .damaged = cursor_.row().damaged, .value = cursor_.row().value};
  }

 private:
  Cursor cursor_;
  JobId at_{};
};

}  // namespace

const Block* LmdbStore::block_of_stored(const Txn& txn, JobId job) {
  if (!was_given_out(job)) return nullptr;
  const Block& block = blocks_.load(txn, block_of(job), next_job());
  return block.state(bit_of(job)) == JobState::gone ? nullptr : &block;
}

void LmdbStore::visit_record(const Txn& txn, const Block& block, JobId job, const Found& found,
                             BodyPiece piece, const std::function<void(const StoredJob*)>& visit) {
  const auto record = read_record(found, job);
  const bool whole = record && (!record->body_in_parts || find_body_parts(txn, *record, piece));
  if (!whole) {
    if (record) note_damage(job);
    visit(nullptr);
    return;
  }
  const std::size_t from = std::min<std::size_t>(piece.from, record->body.size());
  StoredJob stored{.meta = record->meta,
                   .state = block.state(bit_of(job)),
                   .headers = record->headers,
                   .body = record->body_in_parts && !parts_.empty()
                               ? StoredBody(parts_)
                               : StoredBody(record->body.substr(from, piece.bytes)),
                   .unique_key = record->unique_key};
  add_progress(txn, block, &stored.meta);
  visit(&stored);
}

Status LmdbStore::visit_jobs(std::span<const JobId> jobs, const Visit& visit) {
  const auto done = reading<bool>([&](const Txn& txn) {
    RecordsInOrder records(txn);
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      const Block* block = block_of_stored(txn, jobs[i]);
      if (block == nullptr) {
        visit(i, nullptr);
        continue;
      }
      const bool moved = block->moved.test(bit_of(jobs[i]));
      const Found found = moved ? look_record(txn, *block, jobs[i]) : records.look(jobs[i]);
      visit_record(txn, *block, jobs[i], found, {.from = 0, .bytes = std::string_view::npos},
                   [&](const StoredJob* job) { visit(i, job); });
    }
    return true;
  });
  return done.status();
}

Status LmdbStore::visit_piece(JobId job, BodyPiece piece, const Visit& visit) {
  const auto done = reading<bool>([&](const Txn& txn) {
    const Block* block = block_of_stored(txn, job);
    if (block == nullptr) {
      visit(0, nullptr);
    } else {
      visit_record(txn, *block, job, look_record(txn, *block, job), piece,
                   [&](const StoredJob* stored) { visit(0, stored); });
    }
    return true;
  });
  return done.status();
}

}  // namespace jobq::lmdb
