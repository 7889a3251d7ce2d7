// What a start reads: everything the engine keeps in memory, and the youngest jobs' lanes. O(leased jobs +
// queues + lanes + open requests), whatever the backlog. Nothing damaged is skipped: a start that cannot
// trust its store fails.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <random>

#include "broker/store/bytes_io.hpp"
#include "broker/store/lmdb_store.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq::lmdb {
namespace {

template <typename Each>
void each_row(const Txn& txn, Table table, Each each) {
  Cursor cursor = txn.cursor(table);
  for (bool more = cursor.first(); more; more = cursor.next()) each(cursor.key(), cursor.sound_value());
}

template <typename T>
T require(std::optional<T> value, Table table) {
  if (!value)
    throw_damaged(fmt::format("table {} has a key or a row that is none; run 'jobq check'", name_of(table)));
  return *value;
}

std::vector<RecoveredQueue> recover_queues(const Txn& txn) {
  // All rows are looked at: one whose key is damaged would be missed by asking for each queue's, and its totals be gone.
  std::map<std::uint32_t, QueueCounters> counters;
  each_row(txn, Table::counters, [&](std::string_view key, std::string_view value) {
    counters[require(parse_number_key(key), Table::counters)] = decode_counters(value);
  });
  std::vector<RecoveredQueue> queues;
  each_row(txn, Table::queues, [&](std::string_view key, std::string_view value) {
    QueueRow row = decode_queue(value);
    RecoveredQueue& queue = queues.emplace_back();
    queue.queue = require(parse_number_key(key), Table::queues);
    queue.name = std::move(row.name);
    queue.settings = row.settings;
    if (const auto found = counters.find(queue.queue); found != counters.end())
      queue.counters = found->second;
  });
  return queues;
}

std::vector<std::string> recover_types(const Txn& txn) {
  std::vector<std::string> types{""};
  each_row(txn, Table::types, [&](std::string_view key, std::string_view value) {
    if (require(parse_number_key(key), Table::types) != types.size()) throw_damaged("table types has a gap");
    types.emplace_back(value);
  });
  return types;
}

std::vector<RecoveredLane> recover_lanes(const Txn& txn) {
  std::vector<RecoveredLane> lanes;
  each_row(txn, Table::lanes, [&](std::string_view key, std::string_view value) {
    lanes.push_back({.lane = require(parse_lane_key(key), Table::lanes), .ready = decode_count(value)});
  });
  return lanes;
}

}  // namespace

std::vector<RecoveredProducer> LmdbStore::recover_producers(const Txn& txn) const {
  std::vector<RecoveredProducer> producers;
  each_row(txn, Table::producers, [&](std::string_view key, std::string_view value) {
    const ProducerRow row = decode_producer(value);
    RecoveredProducer& producer = producers.emplace_back();
    if (key.size() != producer.producer.size()) throw_damaged("table producers has a key of another length");
    std::ranges::copy(key, producer.producer.begin());
    producer.seen_at = row.seen_at;
    producer.lowest_open = row.lowest_open;
    Cursor cursor = txn.cursor(Table::answers);
    for (bool more = cursor.seek(key); more && cursor.key().starts_with(key); more = cursor.next()) {
      for (change::ProducerAnswer& answer : decode_answers(cursor.sound_value())) {
        if (answer.sequence >= row.lowest_open && !JOBQ_PLANTED(answers_lost_at_a_restart))
          producer.answers.push_back(std::move(answer));
      }
    }
    std::ranges::sort(producer.answers, {}, &change::ProducerAnswer::sequence);
  });
  return producers;
}

std::vector<RecoveredLease> LmdbStore::recover_leases(const Txn& txn) {
  std::vector<RecoveredLease> leases;
  for (const Block* block : blocks_.leased_blocks()) {
    std::size_t next = 0;
    for (unsigned bit = 0; bit < kBlockJobs; ++bit) {
      if (!block->leased.test(static_cast<std::uint8_t>(bit))) continue;
      const JobId job{block->no * kBlockJobs + bit};
      const LeaseEntry& entry = block->leases[next++];
      const Found found = look_record(txn, *block, job);
      const auto record = found.present ? decode_record(job, found.value) : std::nullopt;
      if (!record) throw_damaged(fmt::format("job {}: the record of a leased job is damaged", to_text(job)));
      if (found.damaged) note_damage(job);  // its lane can be read: its worker may still finish it
      RecoveredLease& lease = leases.emplace_back();
      lease.meta = record->meta;
      if (!JOBQ_PLANTED(attempts_lost_at_a_restart)) add_progress(txn, *block, &lease.meta);
      lease.lease_no = entry.lease_no;
      lease.session = entry.session;
      lease.granted_at = entry.granted_at;
    }
  }
  return leases;
}

// Jobs above the watermark: their lanes are not in the index yet.
void LmdbStore::recover_young(const Txn& txn) {
  struct Young {
    JobId job;
    Lane lane;
  };
  std::vector<Young> young;
  const JobId from{index_.indexed_below()};
  for (const Table table : {Table::jobs, Table::moved}) {
    Cursor cursor = txn.cursor(table);
    for (bool more = cursor.seek(job_key(from)); more; more = cursor.next()) {
      const JobId job = require(parse_job_key(cursor.key()), table);
      const Block& block = blocks_.load(txn, block_of(job), next_job());
      const bool elsewhere = block.moved.test(bit_of(job)) != (table == Table::moved);
      if (elsewhere || block.finished.test(bit_of(job))) continue;
      // One damaged record must not keep the sound ones from being served. When its lane can still be read, it is
      // handed out, and its delivery finds the damage; otherwise it waits for 'jobq check'.
      const auto record = decode_record(job, cursor.row().value);
      if (record) young.push_back({.job = job, .lane = record->meta.lane});
      if (!record || cursor.row().damaged) note_damage(job);
    }
  }
  std::ranges::sort(young, {}, &Young::job);
  for (const Young& one : young) index_.add(one.lane, one.job);
}

void LmdbStore::recover_soon(const Txn& txn) {
  each_row(txn, Table::blocks, [&](std::string_view key, std::string_view value) {
    const std::uint64_t no = require(parse_block_key(key), Table::blocks);
    BlockState state;
    decode_block_row(value, &state);
    if (state.soon.none()) return;
    if ((state.soon | state.scheduled) != state.scheduled)
      throw_damaged("a job has a delay without a row and is not scheduled; run 'jobq check'");
    const Block& block = blocks_.load(txn, no, next_job());
    for (unsigned bit = 0; bit < kBlockJobs; ++bit) {
      if (!state.soon.test(static_cast<std::uint8_t>(bit))) continue;
      const JobId job{no * kBlockJobs + bit};
      const JobMeta meta = meta_or_stub(txn, block, job, Lane{});
      if (meta.lane.queue != 0 && !JOBQ_PLANTED(delays_lost_at_a_restart))
        soon_.add(meta.due, job);  // else of a record that cannot be read: said by it
    }
  });
  blocks_.evict();
}

// A file that is not the one the store was made in is a copy: a backup put in its place, or a clone. Answers
// that workers still hold for the original must not hit the copy's jobs, which may have the same numbers.
void LmdbStore::renew_identity_of_a_copy() {
  const FileIdentity file = identify(data_file(options_.path));
  if (identity_.file_inode == file.inode && identity_.file_born_ns == file.born_ns) return;
  const bool first_start = identity_.file_inode == 0;
  if (!first_start) {
    std::random_device entropy;
    for (auto& byte : identity_.incarnation) byte = static_cast<std::uint8_t>(entropy());
    identity_.secret = (std::uint64_t{entropy()} << 32) | entropy();
    if (options_.log) options_.log("the store was copied or restored: it gets a new incarnation");
  }
  identity_.file_inode = file.inode;
  identity_.file_born_ns = file.born_ns;
  Txn txn(env_.get(), Txn::Kind::write);
  encode_identity(identity_, &row_);
  txn.put(Table::meta, meta_key::kIdentity, row_);
  txn.commit();
}

Result<Recovered> LmdbStore::recover() {
  JOBQ_CHECK(!recovered_, "recover() is called once, before anything else");
  recovered_ = true;
  try {
    Recovered found;
    {
      const Txn txn(env_.get(), Txn::Kind::read);
      identity_ = decode_identity(require(txn.get(Table::meta, meta_key::kIdentity), Table::meta));
      mark_ = decode_mark(require(txn.get(Table::meta, meta_key::kMark), Table::meta));
      // The first mark of all says 1. With 0 every number would be given out a second time.
      if (!mark_.mark.next_job.is_set())
        throw_damaged("the mark in table meta says that the next job is 0; run 'jobq check'");
      found.mark = mark_.mark;
      found.queues = recover_queues(txn);
      found.types = recover_types(txn);
      found.lanes = recover_lanes(txn);
      found.producers = recover_producers(txn);
      recover_tasks(txn, &found);
      blocks_.load_leases(txn);
      found.leases = recover_leases(txn);
      index_.set_indexed_below(mark_.indexed_below);
      recover_young(txn);
      recover_soon(txn);
    }
    renew_identity_of_a_copy();
    found.incarnation = identity_.incarnation;
    found.secret = identity_.secret;
    return found;
  } catch (const StoreError& error) {
    return fail_for_good(error);
  }
}

}  // namespace jobq::lmdb
