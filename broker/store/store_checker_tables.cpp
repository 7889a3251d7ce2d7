// The second half of a check: every other table, and that each of its rows belongs to something.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "broker/store/bytes_io.hpp"
#include "broker/store/store_checker.hpp"

namespace jobq::lmdb {
namespace {

using Json = nlohmann::ordered_json;

std::string line_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// The counters that a recount of the jobs can confirm, and all of them for the dump.
struct Named {
  const char* name;
  std::uint64_t QueueCounters::*field;
};
constexpr Named kRecounted[] = {{"ready", &QueueCounters::ready},
                                {"scheduled", &QueueCounters::scheduled},
                                {"leased", &QueueCounters::leased},
                                {"dead", &QueueCounters::dead},
                                {"bytes", &QueueCounters::bytes}};
constexpr Named kTotals[] = {
    {"enqueued_total", &QueueCounters::enqueued_total}, {"acked_total", &QueueCounters::acked_total},
    {"expired_total", &QueueCounters::expired_total},   {"cancelled_total", &QueueCounters::cancelled_total},
    {"purged_total", &QueueCounters::purged_total},     {"dropped_total", &QueueCounters::dropped_total},
    {"failed_total", &QueueCounters::failed_total},     {"crashed_total", &QueueCounters::crashed_total},
    {"lapsed_total", &QueueCounters::lapsed_total},     {"released_total", &QueueCounters::released_total},
    {"snoozed_total", &QueueCounters::snoozed_total},   {"dead_total", &QueueCounters::dead_total},
    {"redriven_total", &QueueCounters::redriven_total}, {"duplicate_total", &QueueCounters::duplicate_total},
    {"finished_seq", &QueueCounters::finished_seq}};

}  // namespace

template <typename Each>
void StoreChecker::each(Table table, Each row) {
  Cursor cursor = txn_.cursor(table);
  for (bool more = cursor.first(); more; more = cursor.next()) {
    if (cursor.row().damaged) {
      problem(table, cursor.key(), "the row is damaged: its checksum does not fit");
      continue;
    }
    try {
      row(cursor.key(), cursor.row().value);
    } catch (const StoreError& error) {
      problem(table, cursor.key(), error.status().text());
    }
  }
}

void StoreChecker::read_names() {
  if (!mark_.mark.next_job.is_set()) problem(Table::meta, meta_key::kMark, "the mark's next job is 0");
  types_.emplace(0, "");
  each(Table::types, [&](std::string_view key, std::string_view value) {
    const auto type = parse_number_key(key);
    if (!type || *type >= mark_.mark.next_type)
      throw_damaged("a type under a number that was never given out");
    types_.emplace(*type, value);
  });
  each(Table::queues, [&](std::string_view key, std::string_view value) {
    const auto queue = parse_number_key(key);
    if (!queue || *queue >= mark_.mark.next_queue)
      throw_damaged("a queue under a number that was never given out");
    queues_.emplace(*queue, decode_queue(value));
    ++counts_.queues;
  });
  if (!dump_) return;
  const IdentityRow identity =
      decode_identity(txn_.get(Table::meta, meta_key::kIdentity).value_or(std::string_view{}));
  std::string incarnation;
  for (const std::uint8_t byte : identity.incarnation) incarnation += fmt::format("{:02x}", byte);
  sink_(line_of({{"kind", "mark"},
                 {"next_job", mark_.mark.next_job.value},
                 {"next_session", mark_.mark.next_session.value},
                 {"engine_now", mark_.mark.now.engine.ms},
                 {"wall_now", mark_.mark.now.wall.ms},
                 {"incarnation", incarnation}}));
}

// Every job that is not finished has a record: what was counted while the records were read.
void StoreChecker::check_found_jobs() {
  std::set<std::uint64_t> blocks;
  each(Table::blocks,
       [&](std::string_view key, std::string_view) { blocks.insert(parse_block_key(key).value_or(0)); });
  for (const auto& [no, found] : found_in_block_) blocks.insert(no);
  for (const std::uint64_t no : blocks) {
    const Block& block = block_of_job(JobId{no * kBlockJobs});
    const std::uint64_t next = mark_.mark.next_job.value;
    std::uint32_t expected = 0;
    for (unsigned bit = 0; bit < kBlockJobs && no * kBlockJobs + bit < next; ++bit) {
      if (!block.finished.test(static_cast<std::uint8_t>(bit))) ++expected;
    }
    const auto found = found_in_block_.find(no);
    const std::uint32_t have = found == found_in_block_.end() ? 0 : found->second;
    if (have != expected) {
      problem(Table::jobs, block_key(no),
              fmt::format("of the jobs {} to {}, {} are not finished and {} have a record",
                          to_text(JobId{no * kBlockJobs}), to_text(JobId{no * kBlockJobs + kBlockJobs - 1}),
                          expected, have));
    }
  }
}

void StoreChecker::check_blocks() {
  each(Table::blocks, [&](std::string_view key, std::string_view value) {
    const auto no = parse_block_key(key);
    if (!no || *no * kBlockJobs >= mark_.mark.next_job.value) throw_damaged("a block that no job belongs to");
    BlockState state;
    decode_block_row(value, &state);
    const Block& block = block_of_job(JobId{*no * kBlockJobs});
    const unsigned sum =
        state.finished.count() + state.scheduled.count() + state.dead.count() + block.leased.count();
    if ((state.finished | state.scheduled | state.dead | block.leased).count() != sum) {
      throw_damaged("a job is in two states at once");
    }
    if ((state.finished | state.moved).count() != state.finished.count() + state.moved.count()) {
      throw_damaged("a finished job is marked as moved");
    }
    if (state.swept && state.left_in_place() != 0)
      throw_damaged("the block is marked as swept and has jobs in place");
    if ((state.soon | state.scheduled) != state.scheduled)
      throw_damaged("a job has a delay without a row and is not scheduled");
    if ((state.finished | ~state.has_progress) != ~state.has_progress)
      throw_damaged("a finished job has progress");
  });
}

void StoreChecker::check_leases() {
  each(Table::leases, [&](std::string_view key, std::string_view value) {
    const auto no = parse_block_key(key);
    if (!no || *no * kBlockJobs >= mark_.mark.next_job.value)
      throw_damaged("leases of jobs that do not exist");
    BlockState state;
    decode_lease_row(value, &state);
    if (state.leases.empty()) throw_damaged("a row without leases");
    for (const LeaseEntry& lease : state.leases) {
      if (!lease.session.is_set() || lease.session >= mark_.mark.next_session) {
        throw_damaged(fmt::format("a lease of session {}, which was never given out", lease.session.value));
      }
    }
  });
}

void StoreChecker::check_timers() {
  each(Table::timers, [&](std::string_view key, std::string_view value) {
    const auto timer = parse_timer_key(key);
    if (!timer) throw_damaged("a timer whose key is none");
    if (timer->kind == TimerKind::unique_hold) {
      const HeldKey held = decode_held_key(value);
      const auto row = txn_.get(Table::unique, unique_row_key(held.queue, held.key));
      if (!row || decode_unique(*row).held_until != timer->at || decode_unique(*row).holder != timer->job) {
        throw_damaged(
            fmt::format("job {}: a timer for a unique key that is not held until then", to_text(timer->job)));
      }
      return;
    }
    const auto job = stored(timer->job);
    const bool due = timer->kind == TimerKind::due && job && job->state == JobState::scheduled &&
                     job->meta.due == timer->at && job->meta.due_clock == timer->clock &&
                     !block_of_job(timer->job).soon.test(bit_of(timer->job));
    const bool expiry = timer->kind == TimerKind::expiry && job && job->meta.expires_at == timer->at;
    if (!due && !expiry)
      throw_damaged(fmt::format("job {}: a timer that does not belong to it", to_text(timer->job)));
  });
}

void StoreChecker::check_unique() {
  each(Table::unique, [&](std::string_view key, std::string_view value) {
    if (key.size() <= 4) throw_damaged("a unique key without a key");
    const UniqueRow row = decode_unique(value);
    const QueueNo queue = *parse_number_key(key.substr(0, 4));
    if (row.held_until.is_set()) {
      const TimerKey timer{Clock::engine, row.held_until, row.holder, TimerKind::unique_hold};
      const auto at = txn_.get(Table::timers, timer_key(timer));
      // One timer gives back one key.
      const HeldKey held = at ? decode_held_key(*at) : HeldKey{};
      if (held.queue != queue || held.key != key.substr(4)) {
        throw_damaged(
            fmt::format("job {}: its key is held for ever: the timer is missing", to_text(row.holder)));
      }
      return;
    }
    const auto job = stored(row.holder);
    if (!job || job->record.unique_key != key.substr(4) || job->meta.lane.queue != queue) {
      throw_damaged(
          fmt::format("a unique key is held by job {}, which is gone or has another", to_text(row.holder)));
    }
  });
}

void StoreChecker::check_progress() {
  const auto has_progress = [&](JobId job) {
    return job < mark_.mark.next_job && block_of_job(job).has_progress.test(bit_of(job));
  };
  each(Table::progress, [&](std::string_view key, std::string_view value) {
    decode_progress(value);
    const auto job = parse_job_key(key);
    if (!job || !has_progress(*job)) throw_damaged("progress of a job that has none");
  });
  each(Table::attempts, [&](std::string_view key, std::string_view value) {
    const AttemptRecord attempt = decode_attempt(value);
    const auto job = key.size() == 10 ? parse_job_key(key.substr(0, 8)) : std::nullopt;
    if (!job || !has_progress(*job)) throw_damaged("an attempt of a job that has none");
    if (std::string_view(attempt_key(*job, attempt_slot(attempt.number))) != key) {
      throw_damaged(fmt::format("job {}: attempt {} is in the wrong place", to_text(*job), attempt.number));
    }
  });
}

void StoreChecker::check_dead() {
  each(Table::dead, [&](std::string_view key, std::string_view value) {
    decode_dead(value);
    const auto at = parse_dead_key(key);
    const auto job = at ? stored(at->job) : std::nullopt;
    if (!job || job->state != JobState::dead || job->meta.lane.queue != at->queue) {
      throw_damaged("a job is listed among the dead of a queue and is not");
    }
  });
}

void StoreChecker::check_bodies() {
  each(Table::bodies, [&](std::string_view key, std::string_view) {
    const auto id = key.size() == 10 ? parse_job_key(key.substr(0, 8)) : std::nullopt;
    const auto job = id ? stored(*id) : std::nullopt;
    const std::size_t part = id ? get_big_endian<std::uint16_t>(key.data() + 8) : 0;
    if (!job || !job->record.body_in_parts || part >= body_parts(job->record.body_bytes)) {
      throw_damaged("a part of a body that no job has");
    }
  });
}

void StoreChecker::check_lane_index() {
  each(Table::lane_index, [&](std::string_view key, std::string_view value) {
    const auto at = parse_lane_index_key(key);
    std::vector<std::uint16_t> offsets;
    decode_lane_row(value, &offsets);
    if (!at || at->range * kRangeJobs >= mark_.indexed_below) throw_damaged("a row above the watermark");
    for (const std::uint16_t offset : offsets) {
      const JobId job{at->range * kRangeJobs + offset};
      if (block_of_job(job).state(bit_of(job)) != JobState::ready) continue;
      const auto found = stored(job);
      if (found && found->meta.lane != at->lane) {
        throw_damaged(fmt::format("job {} is in the index of another lane", to_text(job)));
      }
    }
  });
}

void StoreChecker::check_lanes() {
  each(Table::lanes, [&](std::string_view key, std::string_view value) {
    const auto lane = parse_lane_key(key);
    if (!lane) throw_damaged("a lane whose key is none");
    const std::uint64_t said = decode_count(value);
    const auto counted = counted_lanes_.find(*lane);
    const std::uint64_t have = counted == counted_lanes_.end() ? 0 : counted->second;
    if (counted != counted_lanes_.end()) counted_lanes_.erase(counted);
    if (said != have) {
      throw_damaged(fmt::format("queue {} type {} priority {}: {} ready jobs are counted and {} are there",
                                lane->queue, lane->type, lane->priority, said, have));
    }
  });
  for (const auto& [lane, ready] : counted_lanes_) {
    problem(Table::lanes, lane_key(lane), fmt::format("{} ready jobs are there and the lane is not", ready));
  }
}

void StoreChecker::check_finished() {
  each(Table::finished, [&](std::string_view key, std::string_view value) {
    const JobId job = decode_finished(value).job;
    const auto back = txn_.get(Table::finished_by_job, job_key(job));
    if (!back || *back != key)
      throw_damaged(fmt::format("job {}: its history cannot be found by its id", to_text(job)));
  });
  each(Table::finished_by_job, [&](std::string_view key, std::string_view value) {
    const auto row = txn_.get(Table::finished, value);
    if (!row || decode_finished(*row).job != parse_job_key(key)) throw_damaged("history that is not there");
  });
}

void StoreChecker::check_producers() {
  each(Table::producers, [&](std::string_view key, std::string_view value) {
    decode_producer(value);
    if (key.size() != sizeof(ProducerId)) throw_damaged("a producer whose key is none");
  });
  each(Table::answers, [&](std::string_view key, std::string_view value) {
    const auto answers = decode_answers(value);
    const auto at = parse_answer_key(key);
    if (!at || !txn_.look(Table::producers, producer_key(at->producer)).present) {
      throw_damaged("answers to a producer that is not there");
    }
    if (answers.empty()) throw_damaged("a row without answers");
  });
}

// Rows whose key is another than it was are nobody's: a queue without a row has counted nothing, which may be true.
std::set<QueueNo> StoreChecker::damaged_counters() {
  std::set<QueueNo> damaged;
  Cursor cursor = txn_.cursor(Table::counters);
  for (bool more = cursor.first(); more; more = cursor.next()) {
    const auto queue = parse_number_key(cursor.key());
    if (!queue || !queues_.contains(*queue)) {
      problem(Table::counters, cursor.key(), "counters of a queue that is not there");
    } else if (cursor.row().damaged) {
      damaged.insert(*queue);
    }
  }
  return damaged;
}

void StoreChecker::check_counters() {
  const std::set<QueueNo> damaged = damaged_counters();
  for (const auto& [queue, row] : queues_) {
    QueueCounters counters;
    const Found found = txn_.look(Table::counters, queue_key(queue));
    if (found.damaged || damaged.contains(queue)) {
      problem(Table::counters, queue_key(queue), fmt::format("queue {}: its counters are damaged", row.name));
      continue;
    }
    try {
      if (found.present) counters = decode_counters(found.value);
    } catch (const StoreError& error) {
      problem(Table::counters, queue_key(queue),
              fmt::format("queue {}: {}", row.name, error.status().text()));
      continue;
    }
    const QueueCounters& counted = counted_[queue];
    for (const Named& one : kRecounted) {
      if (counters.*one.field == counted.*one.field) continue;
      problem(Table::counters, queue_key(queue),
              fmt::format("queue {}: {} is stored as {} and counted as {}", row.name, one.name,
                          counters.*one.field, counted.*one.field));
    }
    if (!counters.balanced()) {
      problem(Table::counters, queue_key(queue),
              fmt::format("queue {}: {} jobs were enqueued, and states and exits add up to {}", row.name,
                          counters.enqueued_total, counters.live() + counters.dead + counters.exits()));
    }
    if (!dump_) continue;
    Json line{{"kind", "queue"}, {"name", row.name}, {"number", queue}};
    for (const Named& one : kRecounted) line[one.name] = counters.*one.field;
    for (const Named& one : kTotals) line[one.name] = counters.*one.field;
    sink_(line_of(line));
  }
}

}  // namespace jobq::lmdb
