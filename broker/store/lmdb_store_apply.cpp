// What each change writes. The block table takes the state of jobs; everything else is a row of its own,
// written only where a job has something to say there.
#include <algorithm>
#include <cstring>
#include <memory>

#include "broker/store/bytes_io.hpp"
#include "broker/store/lmdb_store.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/hash.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq::lmdb {
namespace {

constexpr std::size_t kTrimMax = 256;

TimerKey due_timer(JobId job, TimeMs due, Clock clock) {
  return {.clock = clock, .at = due, .job = job, .kind = TimerKind::due};
}
TimerKey expiry_timer(const JobMeta& meta) {
  return {.clock = Clock::engine, .at = meta.expires_at, .job = meta.id, .kind = TimerKind::expiry};
}

void require_state(const Block& block, JobId job, JobState state) {
  const JobState found = block.state(bit_of(job));
  JOBQ_CHECK(found == state, "job {} is {}, not {}", job.value, to_string(found), to_string(state));
}

}  // namespace

void LmdbStore::put_timer(Batch* batch, const TimerKey& timer) {
  batch->txn.put(Table::timers, timer_key(timer), {});
}

void LmdbStore::schedule(Batch* batch, Block* block, const TimerKey& timer) {
  const std::uint8_t bit = bit_of(timer.job);
  block->scheduled.set(bit);
  blocks_.mark_bits(block);
  if (timer.clock == Clock::engine && soon_.takes(timer.at, batch->now)) {
    block->soon.set(bit);
    soon_.add(timer.at, timer.job);
  } else {
    put_timer(batch, timer);
  }
}

void LmdbStore::unschedule(Batch* batch, Block* block, const TimerKey& timer) {
  const std::uint8_t bit = bit_of(timer.job);
  block->scheduled.reset(bit);
  blocks_.mark_bits(block);
  if (block->soon.test(bit)) {
    block->soon.reset(bit);
    soon_.remove(timer.at);
  } else {
    batch->txn.erase(Table::timers, timer_key(timer));
  }
}

void LmdbStore::put_body(Batch* batch, const change::Enqueue& enqueue) {
  const std::string_view body = enqueue.body;
  for (std::size_t part = 0; part < body_parts(body.size()); ++part) {
    batch->txn.put(Table::bodies, body_key(enqueue.meta.id, static_cast<std::uint16_t>(part)),
                   body.substr(part * kBodyPartBytes, kBodyPartBytes), Put::append);
  }
}

void LmdbStore::apply(Batch* batch, const change::Enqueue& enqueue) {
  const JobMeta& meta = enqueue.meta;
  JOBQ_CHECK(meta.id >= batch->next_job, "job {} was given out before", meta.id.value);
  JOBQ_CHECK(meta.bytes == enqueue.headers.size() + enqueue.body.size(), "job {}", meta.id.value);
  // Numbers that were passed over belong to nobody.
  for (; batch->next_job < meta.id; ++batch->next_job.value) {
    Block& block = block_in(batch, batch->next_job);
    block.finished.set(bit_of(batch->next_job));
    blocks_.mark_bits(&block);
  }
  ++batch->next_job.value;
  batch->txn.put_in_place(Table::jobs, job_key(meta.id), encoded_bytes(enqueue), Put::append,
                          [&](char* room) { encode_record(enqueue, room); });
  if (has_body_parts(meta.bytes)) put_body(batch, enqueue);
  if (meta.expires_at.is_set()) put_timer(batch, expiry_timer(meta));
  if (meta.has_unique_key) {
    encode_unique({.holder = meta.id, .body_hash = hash64(enqueue.body)}, &row_);
    batch->txn.put(Table::unique, unique_row_key(meta.lane.queue, enqueue.unique_key), row_);
  }
  if (meta.due.is_set()) {
    schedule(batch, &block_in(batch, meta.id), due_timer(meta.id, meta.due, meta.due_clock));
  }
  index_.add(meta.lane, meta.id);
}

void LmdbStore::apply(Batch* batch, const change::Lease& lease) {
  Block& block = block_in(batch, lease.job);
  require_state(block, lease.job, JobState::ready);
  block.grant(bit_of(lease.job),
              {.lease_no = lease.lease_no, .session = lease.session, .granted_at = lease.granted_at});
  blocks_.mark_leases(&block);
}

void LmdbStore::apply(Batch* batch, const change::MoveLease& move) {
  Block& block = block_in(batch, move.job);
  require_state(block, move.job, JobState::leased);
  block.move_lease(bit_of(move.job),
                   {.lease_no = move.lease_no, .session = move.session, .granted_at = move.granted_at});
  blocks_.mark_leases(&block);
}

void LmdbStore::erase_prefixed(Batch* batch, Table table, std::string_view prefix) {
  Cursor cursor = batch->txn.cursor(table);
  for (bool more = cursor.seek(prefix); more && cursor.key().starts_with(prefix); more = cursor.next()) {
    cursor.erase();
  }
}

void LmdbStore::erase_progress(Batch* batch, JobId job) {
  batch->txn.erase(Table::progress, job_key(job));
  erase_prefixed(batch, Table::attempts, job_key(job));
}

// The unique key of a job that leaves is free again, or held for a while.
void LmdbStore::let_go_of_key(Batch* batch, const change::Finish& finish, const Block& block) {
  const JobId job = finish.meta.id;
  const Found found = look_record(batch->txn, block, job);
  const auto record = found.present ? decode_record(job, found.value) : std::nullopt;
  if (!record || record->unique_key.empty()) return;  // damaged: 'jobq check' finds the key without a job
  const QueueNo queue = finish.meta.lane.queue;
  const auto key = unique_row_key(queue, record->unique_key);
  const Found stored = batch->txn.look(Table::unique, key);
  if (!stored.present || stored.damaged) return;
  UniqueRow row = decode_unique(stored.value);
  if (row.holder != job) return;  // of a damaged record: not its key
  if (!finish.unique_hold_until.is_set() && JOBQ_PLANTED(key_kept_for_ever)) return;
  if (!finish.unique_hold_until.is_set()) {
    batch->txn.erase(Table::unique, key);
    return;
  }
  row.held_until = finish.unique_hold_until;
  std::string held;
  encode_held_key({.queue = queue, .key = record->unique_key}, &held);
  encode_unique(row, &row_);
  batch->txn.put(Table::unique, key, row_);
  batch->txn.put(Table::timers,
                 timer_key({.clock = Clock::engine,
                            .at = finish.unique_hold_until,
                            .job = finish.meta.id,
                            .kind = TimerKind::unique_hold}),
                 held);
}

void LmdbStore::apply(Batch* batch, const change::Finish& finish) {
  const JobMeta& meta = finish.meta;
  const std::uint8_t bit = bit_of(meta.id);
  Block& block = block_in(batch, meta.id);
  require_state(block, meta.id, finish.from);
  if (meta.has_unique_key) let_go_of_key(batch, finish, block);
  switch (finish.from) {
    case JobState::leased:
      block.end_lease(bit);
      // The bit of the finished says enough: with acks in any order each would write the leases of a whole block anew.
      if (block.leased.none()) blocks_.mark_leases(&block);
      break;
    case JobState::scheduled:
      unschedule(batch, &block, due_timer(meta.id, meta.due, meta.due_clock));
      break;
    case JobState::dead:
      block.dead.reset(bit);
      batch->txn.erase(Table::dead, dead_key(meta.lane.queue, meta.id));
      break;
    case JobState::ready:
    case JobState::gone:
      break;
  }
  if (meta.expires_at.is_set()) batch->txn.erase(Table::timers, timer_key(expiry_timer(meta)));
  if (block.has_progress.test(bit)) {
    erase_progress(batch, meta.id);
    block.has_progress.reset(bit);
  }
  if (has_body_parts(meta.bytes)) erase_prefixed(batch, Table::bodies, job_key(meta.id));
  if (block.moved.test(bit)) {
    batch->txn.erase(Table::moved, job_key(meta.id));
    block.moved.reset(bit);
  }
  block.finished.set(bit);
  blocks_.mark_bits(&block);
  sweeper_.consider(&block, batch->next_job);
}

void LmdbStore::put_progress(Batch* batch, Block* block, const JobMeta& meta) {
  encode_progress({.progress = meta.progress, .due = meta.due, .due_clock = meta.due_clock}, &row_);
  batch->txn.put(Table::progress, job_key(meta.id), row_);
  block->has_progress.set(bit_of(meta.id));
  blocks_.mark_bits(block);
}

void LmdbStore::put_attempt(Batch* batch, JobId job, const std::optional<AttemptRecord>& attempt) {
  if (!attempt) return;
  encode_attempt(*attempt, &row_);
  batch->txn.put(Table::attempts, attempt_key(job, attempt_slot(attempt->number)), row_);
}

void LmdbStore::apply(Batch* batch, const change::Return& back) {
  const JobMeta& meta = back.meta;
  const std::uint8_t bit = bit_of(meta.id);
  Block& block = block_in(batch, meta.id);
  require_state(block, meta.id, JobState::leased);
  block.end_lease(bit);
  blocks_.mark_leases(&block);
  put_attempt(batch, meta.id, back.attempt);
  put_progress(batch, &block, meta);
  if (meta.due.is_set()) {
    schedule(batch, &block, due_timer(meta.id, meta.due, meta.due_clock));
  } else if (!JOBQ_PLANTED(returned_job_not_listed)) {
    index_.became_ready(meta.lane, meta.id);
  }
}

void LmdbStore::apply(Batch* batch, const change::Reschedule& move) {
  const JobMeta& meta = move.meta;
  Block& block = block_in(batch, meta.id);
  if (move.old_due.is_set()) {
    require_state(block, meta.id, JobState::scheduled);
    unschedule(batch, &block, due_timer(meta.id, move.old_due, move.old_clock));
  } else {  // Its entry in the lane index stays: a hint, which is not taken while the bit says scheduled.
    require_state(block, meta.id, JobState::ready);
  }
  schedule(batch, &block, due_timer(meta.id, meta.due, meta.due_clock));
  put_progress(batch, &block, meta);
}

void LmdbStore::apply(Batch* batch, const change::Due& due) {
  const JobMeta& meta = due.meta;
  Block& block = block_in(batch, meta.id);
  require_state(block, meta.id, JobState::scheduled);
  unschedule(batch, &block, due_timer(meta.id, meta.due, meta.due_clock));
  index_.became_ready(meta.lane, meta.id);
}

// Out of the way of the sweep: the dead stay for long.
void LmdbStore::move_record(Batch* batch, Block* block, JobId job) {
  const std::uint8_t bit = bit_of(job);
  if (block->moved.test(bit)) return;
  {
    Cursor cursor = batch->txn.cursor(Table::jobs);
    if (cursor.find(job_key(job))) {
      move_to_moved(&batch->txn, job, cursor.row(), &moved_);
    } else {
      note_damage(job);
    }
  }
  // The record in place is removed with its block.
  block->moved.set(bit);
  blocks_.mark_bits(block);
  sweeper_.consider(block, batch->next_job);
}

void LmdbStore::apply(Batch* batch, const change::Die& die) {
  const JobMeta& meta = die.meta;
  const std::uint8_t bit = bit_of(meta.id);
  Block& block = block_in(batch, meta.id);
  require_state(block, meta.id, JobState::leased);
  block.end_lease(bit);
  blocks_.mark_leases(&block);
  put_attempt(batch, meta.id, die.attempt);
  put_progress(batch, &block, meta);
  if (JOBQ_PLANTED(death_in_two_transactions)) {
    batch->txn.commit();
    std::destroy_at(&batch->txn);
    std::construct_at(&batch->txn, env_.get(), Txn::Kind::write);
  }
  block.dead.set(bit);
  move_record(batch, &block, meta.id);
  encode_dead({.reason = die.reason, .died_at = die.died_at}, &row_);
  batch->txn.put(Table::dead, dead_key(meta.lane.queue, meta.id), row_);
}

void LmdbStore::apply(Batch* batch, const change::Redrive& redrive) {
  const JobMeta& meta = redrive.meta;
  Block& block = block_in(batch, meta.id);
  require_state(block, meta.id, JobState::dead);
  block.dead.reset(bit_of(meta.id));
  batch->txn.erase(Table::dead, dead_key(meta.lane.queue, meta.id));
  put_progress(batch, &block, meta);
  if (JOBQ_PLANTED(key_lost_at_redrive) && meta.has_unique_key)
    let_go_of_key(batch, change::Finish{.meta = meta}, block);
  index_.became_ready(meta.lane, meta.id);
}

void LmdbStore::apply(Batch* batch, const change::ReleaseUnique& release) {
  JOBQ_CHECK(release.timer.kind == TimerKind::unique_hold, "job {}", release.timer.job.value);
  const auto timer = timer_key(release.timer);
  const auto row = batch->txn.get(Table::timers, timer);
  JOBQ_CHECK(row.has_value(), "job {}: no key is held until {}", release.timer.job.value,
             release.timer.at.ms);
  const HeldKey held = decode_held_key(*row);
  batch->txn.erase(Table::unique, unique_row_key(held.queue, held.key));
  batch->txn.erase(Table::timers, timer);
}

void LmdbStore::apply(Batch* batch, const change::PutQueue& put) {
  encode_queue(put.name, put.settings, &row_);
  batch->txn.put(Table::queues, queue_key(put.queue), row_);
}

void LmdbStore::apply(Batch* batch, const change::RemoveQueue& remove) {
  const auto key = queue_key(remove.queue);
  batch->txn.erase(Table::queues, key);
  batch->txn.erase(Table::counters, key);
  erase_prefixed(batch, Table::lanes, key);
  erase_prefixed(batch, Table::lane_index, key);
  Cursor cursor = batch->txn.cursor(Table::finished);
  const std::string_view prefix = key;
  for (bool more = cursor.seek(prefix); more && cursor.key().starts_with(prefix); more = cursor.next()) {
    const JobId job = decode_finished(cursor.sound_value()).job;
    cursor.erase();
    batch->txn.erase(Table::finished_by_job, job_key(job));
  }
}

void LmdbStore::apply(Batch* batch, const change::PutType& put) {
  batch->txn.put(Table::types, type_key(put.type), put.name);
}

void LmdbStore::apply(Batch* batch, const change::PutCounters& put) {
  encode_counters(put.counters, &row_);
  batch->txn.put(Table::counters, queue_key(put.queue), row_);
}

void LmdbStore::apply(Batch* batch, const change::PutLane& put) {
  const auto key = lane_key(put.lane);
  if (put.ready == 0) {
    batch->txn.erase(Table::lanes, key);
    return;
  }
  encode_count(put.ready, &row_);
  batch->txn.put(Table::lanes, key, row_);
}

void LmdbStore::apply(Batch* batch, const change::AddFinished& add) {
  const auto key = finished_key(add.queue, add.seq);
  encode_finished(add, &row_);
  batch->txn.put(Table::finished, key, row_);
  batch->txn.put(Table::finished_by_job, job_key(add.job), key);
}

// From the oldest on, up to the first that may stay.
void LmdbStore::apply(Batch* batch, const change::TrimFinished& trim) {
  const auto queue = queue_key(trim.queue);
  const std::string_view prefix = queue;
  Cursor cursor = batch->txn.cursor(Table::finished);
  std::size_t trimmed = 0;
  for (bool more = cursor.seek(prefix); more && cursor.key().starts_with(prefix) && trimmed < kTrimMax;
       more = cursor.next(), ++trimmed) {
    const change::AddFinished row = decode_finished(cursor.sound_value());
    const auto seq = get_big_endian<std::uint64_t>(cursor.key().data() + prefix.size());
    if (seq >= trim.below_seq && row.finished_at >= trim.older_than) return;
    cursor.erase();
    batch->txn.erase(Table::finished_by_job, job_key(row.job));
  }
}

// One row per producer and batch holds all answers given in it, under the first sequence; it goes when the
// last of them is below the window.
void LmdbStore::apply(Batch* batch, const change::PutProducer& put) {
  encode_producer({.seen_at = put.seen_at, .lowest_open = put.lowest_open}, &row_);
  const auto producer = producer_key(put.producer);
  batch->txn.put(Table::producers, producer, row_);
  {
    const std::string_view prefix = producer;
    Cursor cursor = batch->txn.cursor(Table::answers);
    for (bool more = cursor.seek(prefix); more && cursor.key().starts_with(prefix); more = cursor.next()) {
      const auto row = parse_answer_key(cursor.key());
      if (!row || row->sequence >= put.lowest_open) break;
      if (newest_sequence(cursor.sound_value()) < put.lowest_open) cursor.erase();
    }
  }
  if (put.answers.empty()) return;
  const auto first = std::ranges::min_element(put.answers, {}, &change::ProducerAnswer::sequence);
  encode_answers(put.answers, &row_);
  batch->txn.put(Table::answers, answer_key(put.producer, first->sequence), row_);
}

void LmdbStore::apply(Batch* batch, const change::ForgetProducer& forget) {
  const auto producer = producer_key(forget.producer);
  batch->txn.erase(Table::producers, producer);
  erase_prefixed(batch, Table::answers, producer);
}

}  // namespace jobq::lmdb
