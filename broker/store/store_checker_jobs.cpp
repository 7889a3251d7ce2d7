// The first half of a check: every job record, and that all that belongs to it is there.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "broker/store/store_checker.hpp"
#include "libjobq/base/hash.hpp"

namespace jobq::lmdb {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kBlocksKept = 65'536;

std::string line_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string hex(std::uint64_t value) { return fmt::format("{:016x}", value); }

}  // namespace

StoreChecker::StoreChecker(Env* env, bool dump, const CheckSink& sink)
    : txn_(env, Txn::Kind::read), dump_(dump), sink_(sink), blocks_(kBlocksKept) {
  mark_ = decode_mark(txn_.get(Table::meta, meta_key::kMark).value_or(std::string_view{}));
}

CheckCounts StoreChecker::run() {
  read_names();
  blocks_.load_leases(txn_);
  check_records(Table::jobs);
  check_records(Table::moved);
  check_found_jobs();
  check_blocks();
  check_leases();
  check_timers();
  check_unique();
  check_progress();
  check_dead();
  check_bodies();
  check_lane_index();
  check_lanes();
  check_finished();
  check_producers();
  check_counters();
  check_tasks();
  counts_.as_of = mark_.mark.now.wall;
  return counts_;
}

void StoreChecker::problem(Table table, std::string_view key, const std::string& text) {
  ++counts_.problems;
  std::string shown;
  for (const char c : key) shown += fmt::format("{:02x}", static_cast<unsigned char>(c));
  sink_(line_of({{"kind", "problem"}, {"table", name_of(table)}, {"key", shown}, {"text", text}}));
}

void StoreChecker::problem(JobId job, Table table, const std::string& text) {
  problem(table, job_key(job), fmt::format("job {}: {}", to_text(job), text));
}

const Block& StoreChecker::block_of_job(JobId job) {
  blocks_.evict();
  return blocks_.load(txn_, block_of(job), mark_.mark.next_job);
}

std::optional<StoreChecker::Stored> StoreChecker::stored(JobId job) {
  if (!job.is_set() || job >= mark_.mark.next_job) return std::nullopt;
  const Block& block = block_of_job(job);
  const std::uint8_t bit = bit_of(job);
  const Found found = txn_.look(block.moved.test(bit) ? Table::moved : Table::jobs, job_key(job));
  if (block.state(bit) == JobState::gone || !found.present || found.damaged) return std::nullopt;
  const auto record = decode_record(job, found.value);
  if (!record) return std::nullopt;
  Stored result{.state = block.state(bit), .record = *record, .meta = record->meta};
  if (block.has_progress.test(bit)) {
    const auto row = txn_.get(Table::progress, job_key(job));
    if (!row) return std::nullopt;
    const ProgressRow progress = decode_progress(*row);
    result.meta.progress = progress.progress;
    result.meta.has_progress = true;
    result.meta.due = progress.due;
    result.meta.due_clock = progress.due_clock;
  }
  if (result.state != JobState::scheduled) result.meta.due = {};
  return result;
}

void StoreChecker::check_records(Table table) {
  Cursor cursor = txn_.cursor(table);
  for (bool more = cursor.first(); more; more = cursor.next()) {
    const auto job = parse_job_key(cursor.key());
    if (!job || !job->is_set() || *job >= mark_.mark.next_job) {
      problem(table, cursor.key(), "a record under a number that was never given out");
      continue;
    }
    const Block& block = block_of_job(*job);
    const std::uint8_t bit = bit_of(*job);
    const bool leftover = block.finished.test(bit) || block.moved.test(bit) != (table == Table::moved);
    if (leftover) {
      if (table == Table::moved) {
        problem(*job, table, "its record is kept here and nothing refers to it");
      } else if (block.swept) {
        problem(*job, table, "its record was to be removed with its block and is still there");
      } else {
        ++counts_.awaiting_sweep;
      }
      continue;
    }
    ++found_in_block_[block.no];
    const auto record = cursor.row().damaged ? std::nullopt : decode_record(*job, cursor.row().value);
    if (!record) {
      problem(*job, table, fmt::format("its record is damaged ({} bytes)", cursor.row().value.size()));
      continue;
    }
    try {
      check_job(*record, table);
    } catch (const StoreError& error) {
      problem(*job, table, error.status().text());
    }
  }
}

std::optional<std::string_view> StoreChecker::whole_body(const JobRecord& record) {
  if (!record.body_in_parts) return record.body;
  body_.clear();
  for (std::size_t part = 0; part < body_parts(record.body_bytes); ++part) {
    const Found found = txn_.look(Table::bodies, body_key(record.meta.id, static_cast<std::uint16_t>(part)));
    if (!found.present || found.damaged) return std::nullopt;
    body_.append(found.value);
  }
  if (body_.size() != record.body_bytes) return std::nullopt;
  return body_;
}

void StoreChecker::check_job(const JobRecord& record, Table table) {
  const JobId job = record.meta.id;
  const Lane& lane = record.meta.lane;
  const auto found = stored(job);
  if (!found) {
    problem(job, table, "its progress is missing");
    return;
  }
  ++counts_.jobs;
  if (!queues_.contains(lane.queue))
    problem(job, table, fmt::format("it is in queue {}, which is not there", lane.queue));
  if (!types_.contains(lane.type))
    problem(job, table, fmt::format("it has type {}, which is not there", lane.type));

  QueueCounters& counted = counted_[lane.queue];
  const Block& block = block_of_job(job);
  const std::uint8_t bit = bit_of(job);
  check_waiting(found->meta, found->state, bit, block);
  if (found->state == JobState::dead) {
    ++counted.dead;
    ++counts_.dead;
    if (!txn_.look(Table::dead, dead_key(lane.queue, job)).present)
      problem(job, Table::dead, "it is dead and not listed");
  } else {
    counted.bytes += record.meta.bytes;
  }

  const auto body = whole_body(record);
  if (!body) {
    problem(job, Table::bodies, "a part of its body is missing or damaged");
    return;
  }
  const std::uint64_t body_hash = hash64(*body);
  if (record.meta.has_unique_key) check_unique_row(record, body_hash);
  if (dump_) dump_job(record, found->meta, found->state, body_hash);
}

void StoreChecker::check_waiting(const JobMeta& meta, JobState state, std::uint8_t bit, const Block& block) {
  const JobId job = meta.id;
  QueueCounters& counted = counted_[meta.lane.queue];
  const auto require_timer = [&](const TimerKey& timer, const char* kind) {
    if (!txn_.look(Table::timers, timer_key(timer)).present) {
      problem(job, Table::timers, fmt::format("its {} timer at {} is missing", kind, timer.at.ms));
    }
  };
  if (meta.expires_at.is_set()) {
    require_timer({Clock::engine, meta.expires_at, job, TimerKind::expiry}, "expiry");
  }
  switch (state) {
    case JobState::ready:
      ++counted.ready;
      ++counts_.ready;
      ++counted_lanes_[meta.lane];
      if (job.value < mark_.indexed_below) check_indexed(meta);
      break;
    case JobState::scheduled:
      ++counted.scheduled;
      ++counts_.scheduled;
      if (!block.soon.test(bit)) require_timer({meta.due_clock, meta.due, job, TimerKind::due}, "due");
      break;
    case JobState::leased:
      ++counted.leased;
      ++counts_.leased;
      if (block.lease(bit).lease_no <= meta.progress.lease_no) {
        problem(job, Table::leases, "it is leased under a number that was used before");
      }
      break;
    case JobState::dead:
    case JobState::gone:
      break;
  }
  if (meta.progress.attempts_recorded > 0) {
    const auto slot = attempt_slot(meta.progress.attempts_recorded);
    if (!txn_.look(Table::attempts, attempt_key(job, slot)).present) {
      problem(job, Table::attempts, fmt::format("attempt {} is missing", meta.progress.attempts_recorded));
    }
  }
}

void StoreChecker::check_unique_row(const JobRecord& record, std::uint64_t body_hash) {
  const Found found = txn_.look(Table::unique, unique_row_key(record.meta.lane.queue, record.unique_key));
  if (!found.present || found.damaged) {
    problem(record.meta.id, Table::unique, "its unique key is not held");
    return;
  }
  const UniqueRow row = decode_unique(found.value);
  if (row.holder != record.meta.id || row.held_until.is_set()) {
    problem(record.meta.id, Table::unique, fmt::format("its unique key is held by {}", to_text(row.holder)));
  } else if (row.body_hash != body_hash) {
    problem(record.meta.id, Table::unique, "its unique key stands for another body");
  }
}

// A ready job below the watermark that is not in the index would never be handed out.
void StoreChecker::check_indexed(const JobMeta& meta) {
  IndexedRow& row = indexed_[meta.lane];
  const std::uint64_t range = range_of(meta.id);
  if (row.range != range) {
    row.range = range;
    row.offsets.clear();
    const Found found = txn_.look(Table::lane_index, lane_index_key(meta.lane, range));
    if (found.present && !found.damaged) decode_lane_row(found.value, &row.offsets);
  }
  if (!std::ranges::binary_search(row.offsets, static_cast<std::uint16_t>(meta.id.value % kRangeJobs))) {
    problem(meta.id, Table::lane_index, "it is ready and not in the index of its lane");
  }
}

void StoreChecker::dump_job(const JobRecord& record, const JobMeta& meta, JobState state,
                            std::uint64_t body_hash) {
  const JobId job = meta.id;
  const auto queue = queues_.find(meta.lane.queue);
  const auto type = types_.find(meta.lane.type);
  Json line{{"kind", "job"},
            {"id", to_text(job)},
            {"number", job.value},
            {"queue", queue == queues_.end() ? "" : queue->second.name},
            {"type", type == types_.end() ? "" : type->second},
            {"priority", meta.lane.priority},
            {"state", to_string(state)},
            {"bytes", meta.bytes},
            {"headers_hash", hex(hash64(record.headers))},
            {"body_hash", hex(body_hash)}};
  if (state == JobState::leased) {
    const LeaseEntry& lease = block_of_job(job).lease(bit_of(job));
    line["lease_no"] = lease.lease_no;
    line["session"] = lease.session.value;
    line["granted_at"] = lease.granted_at.ms;
  } else {
    line["lease_no"] = meta.progress.lease_no;
  }
  line["failures"] = meta.progress.failures;
  line["crashes"] = meta.progress.crashes;
  line["snoozes"] = meta.progress.snoozes;
  line["redrives"] = meta.progress.redrives;
  line["attempts"] = meta.progress.attempts_recorded;
  line["unique_key"] = record.unique_key;
  line["enqueued_at"] = meta.enqueued_at.ms;
  line["expires_at"] = meta.expires_at.ms;
  if (state == JobState::scheduled) {
    line["due"] = meta.due.ms;
    line["due_clock"] = meta.due_clock == Clock::wall ? "wall" : "engine";
  }
  if (state == JobState::dead) {
    if (const auto row = txn_.get(Table::dead, dead_key(meta.lane.queue, job))) {
      const DeadRow dead = decode_dead(*row);
      line["reason"] = to_string(dead.reason);
      line["died_at"] = dead.died_at.ms;
    }
  }
  sink_(line_of(line));
}

}  // namespace jobq::lmdb
