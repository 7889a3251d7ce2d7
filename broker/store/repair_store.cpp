#include "broker/store/repair_store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "broker/store/keys.hpp"
#include "broker/store/record_type.hpp"
#include "broker/store/store_files.hpp"
#include "libjobq/base/bytes.hpp"

namespace jobq::lmdb {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kMapBytes = std::uint64_t{1} << 40;  // address space only
constexpr TypeNo kTypesMax = 1'000'000;                      // limits.types may not be set to more

std::string line_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

RepairReport Repair::run() {
  say_damage();
  read_names();
  make_store_file(to_, kMapBytes);
  Env env(to_, kMapBytes, Env::Mode::read_write);
  RowWriter out(&env);
  out_ = &out;
  RepairJobs jobs(&salvage_, mark_.now, given_out_, &report_,
                  [this](const char* kind, JobId job, const std::string& queue, const std::string& text) {
                    say(kind, job, queue, text);
                  });
  while (const SavedJob* job = jobs.next()) write(*job);
  jobs.report_missing();
  end_block();
  end_range();
  write_queues();
  write_lanes();
  write_held_keys();
  write_history();
  write_producers();
  std::string row;
  encode_mark({.mark = mark_, .indexed_below = indexed_below_}, &row);
  out.put(Table::meta, meta_key::kMark, row);
  out.commit();
  return report_;
}

void Repair::say(const char* kind, JobId job, const std::string& queue, const std::string& text) {
  if (std::string_view(kind) == "lost_range") {
    line_(line_of({{"kind", kind}, {"first", to_text(job)}, {"last", queue}, {"text", text}}));
  } else {
    line_(line_of({{"kind", kind}, {"id", to_text(job)}, {"queue", queue}, {"text", text}}));
  }
}
void Repair::changed(const std::string& text) {
  ++report_.changed;
  line_(line_of({{"kind", "changed"}, {"text", text}}));
}

void Repair::say_damage() {
  report_.damaged_pages = salvage_.page_texts.size();
  for (const std::string& text : salvage_.page_texts) line_(line_of({{"kind", "page"}, {"text", text}}));
  for (const DamagedRow& row : salvage_.damaged_rows) {
    ++report_.damaged_rows;
    std::string key;
    for (const char c : row.key.substr(0, 64)) key += fmt::format("{:02x}", static_cast<unsigned char>(c));
    const auto job =
        row.table == Table::jobs || row.table == Table::moved ? parse_job_key(row.key) : std::nullopt;
    line_(line_of({{"kind", "row"},
                   {"table", name_of(row.table)},
                   {"key", key},
                   {"text", job ? fmt::format("job {}: {}", to_text(*job), row.why) : row.why}}));
  }
}

void Repair::read_mark(TimeMs wall_now) {
  if (const auto format = salvage_.meta.find(meta_key::kFormat); format != salvage_.meta.end()) {
    if (const std::uint32_t version = decode_format(format->second); version != kFormatVersion) {
      throw StoreError(
          Code::not_supported, StoreProblem::newer_format,
          fmt::format("the store has format {}, this version of jobq reads format {}; repair it with the "
                      "version that wrote it",
                      version, kFormatVersion));
    }
  }
  const auto row = salvage_.meta.find(meta_key::kMark);
  if (row != salvage_.meta.end()) {
    mark_ = decode_mark(row->second).mark;
  } else {
    mark_.now = {wall_now, wall_now};
    changed(
        "where the store stood (numbers and clocks) is lost: worked out from its jobs, with the time of now");
  }
  // Nothing that was given out is given out again, whatever the mark says.
  std::uint64_t last = mark_.next_job.value - 1;
  if (!salvage_.jobs.empty()) last = std::max(last, salvage_.jobs.back().job.value);
  if (row == salvage_.meta.end()) {
    for (const auto& [no, block] : salvage_.blocks) last = std::max(last, no * kBlockJobs + kBlockJobs - 1);
  }
  // From a block of its own on: what is not in the last one can be called finished.
  given_out_ = JobId{last + 1};
  mark_.next_job = JobId{(last / kBlockJobs + 1) * kBlockJobs};
  const std::uint64_t ranges = mark_.next_job.value / kRangeJobs;
  indexed_below_ = ranges > LaneIndex::kYoungMin / kRangeJobs
                       ? (ranges - LaneIndex::kYoungMin / kRangeJobs) * kRangeJobs
                       : 0;
  for (const auto& [no, block] : salvage_.blocks) {
    for (const LeaseEntry& lease : block.leases)
      mark_.next_session.value = std::max(mark_.next_session.value, lease.session.value + 1);
  }
}

void Repair::read_names() {
  for (const auto& [key, row] : salvage_.queues) {
    const auto number = parse_number_key(key);
    try {
      if (number) queues_.emplace(*number, decode_queue(row));
    } catch (const StoreError& error) {
      changed(fmt::format("queue number {}: its row cannot be understood: {}", number.value_or(0),
                          error.status().text()));
    }
  }
  types_.emplace(0, "");
  for (const auto& [key, row] : salvage_.types) {
    const auto number = parse_number_key(key);
    if (!number) continue;
    if (*number <= kTypesMax) {
      types_.emplace(*number, row);
    } else {
      changed(fmt::format("job type number {}: a store has no such number; its row is left out", *number));
    }
  }
}

// Numbers of types have no gaps: one that a fault has made up would want a row for each number below it.
TypeNo Repair::type_for(TypeNo stored) {
  if (stored <= kTypesMax && !given_anew_.contains(stored)) {
    if (types_.emplace(stored, fmt::format("repaired-{}", stored)).second) say_lost_types(stored, stored);
    return stored;
  }
  const auto [found, made] = renumbered_.emplace(stored, 0);
  if (made) {
    const TypeNo next = mark_.next_type <= kTypesMax ? mark_.next_type : 0;
    found->second = std::max(types_.rbegin()->first + 1, next);
    given_anew_.insert(found->second);
    const std::string& name = types_.emplace(found->second, fmt::format("repaired-{}", stored)).first->second;
    changed(fmt::format("job type number {}: a store has no such number; it is number {} and called '{}' now",
                        stored, found->second, name));
  }
  return found->second;
}

QueueRow& Repair::queue(QueueNo number) {
  const auto [found, made] = queues_.emplace(number, QueueRow{});
  if (made) {
    found->second.name = fmt::format("repaired-{}", number);
    found->second.settings.paused = true;
    changed(
        fmt::format("queue number {}: its name and settings are lost; it is called '{}' now, has the default "
                    "settings and is paused",
                    number, found->second.name));
  }
  return found->second;
}

void Repair::write(const SavedJob& job) {
  const JobMeta& meta = job.decoded.meta;
  const std::uint8_t bit = bit_of(job.job);
  if (block_of(job.job) != block_no_) {
    end_block();
    block_no_ = block_of(job.job);
  }
  if (range_of(job.job) != range_no_) {
    end_range();
    range_no_ = range_of(job.job);
  }
  queue(meta.lane.queue);
  Lane lane = meta.lane;
  lane.type = type_for(lane.type);

  out_->put(job.moved ? Table::moved : Table::jobs, job_key(job.job),
            lane.type == meta.lane.type ? std::string(job.record) : with_type(job.record, lane.type),
            job.moved ? Put::upsert : Put::append);
  for (std::size_t part = 0; part < job.parts.size(); ++part)
    out_->put(Table::bodies, body_key(job.job, static_cast<std::uint16_t>(part)), job.parts[part],
              Put::append);
  block_.finished.reset(bit);
  if (job.moved) {
    block_.moved.set(bit);
  } else {
    in_place_.set(bit);
  }
  if (job.progress) {
    encode_progress(*job.progress, &row_);
    out_->put(Table::progress, job_key(job.job), row_);
    block_.has_progress.set(bit);
    for (const auto& [key, row] : job.attempts) out_->put(Table::attempts, key, row);
  }
  if (meta.expires_at.is_set())
    out_->put(Table::timers, timer_key({Clock::engine, meta.expires_at, job.job, TimerKind::expiry}), {});
  if (meta.has_unique_key) {
    encode_unique({.holder = job.job, .body_hash = job.body_hash}, &row_);
    const auto key = unique_row_key(meta.lane.queue, job.decoded.unique_key);
    out_->put(Table::unique, key, row_);
    keys_.emplace(std::string_view(key));
  }
  QueueCounters& counted = counted_[meta.lane.queue];
  if (job.state == JobState::dead) {
    ++counted.dead;
    block_.dead.set(bit);
    if (job.dead_row.empty()) {
      encode_dead({.reason = DeadReason::attempts, .died_at = mark_.now.engine}, &row_);
      changed(fmt::format("job {}: why and when it died is lost", to_text(job.job)));
    } else {
      row_ = job.dead_row;
    }
    out_->put(Table::dead, dead_key(meta.lane.queue, job.job), row_);
    return;
  }
  counted.bytes += meta.bytes;
  if (job.state == JobState::scheduled) {
    ++counted.scheduled;
    block_.scheduled.set(bit);
    out_->put(Table::timers, timer_key({job.due_clock, job.due, job.job, TimerKind::due}), {});
    return;
  }
  ++counted.ready;
  ++lanes_[lane];
  if (job.job.value < indexed_below_)
    range_[lane].push_back(static_cast<std::uint16_t>(job.job.value % kRangeJobs));
}

void Repair::end_block() {
  if (block_no_ != ~std::uint64_t{0}) {
    block_.swept = in_place_.none();
    encode_block_row(block_, &row_);
    if (!row_.empty()) out_->put(Table::blocks, block_key(block_no_), row_);
  }
  block_ = {};
  block_.finished = kAllBits;
  in_place_ = {};
}

void Repair::end_range() {
  for (const auto& [lane, offsets] : range_) {
    encode_lane_row(offsets, &row_);
    out_->put(Table::lane_index, lane_index_key(lane, range_no_), row_);
  }
  range_.clear();
}

void Repair::write_queues() {
  for (auto& [number, queue] : queues_) {
    encode_queue(queue.name, queue.settings, &row_);
    out_->put(Table::queues, queue_key(number), row_);
    mark_.next_queue = std::max(mark_.next_queue, number + 1);

    QueueCounters counters;
    const auto stored = salvage_.counters.find(std::string_view(queue_key(number)));
    if (stored != salvage_.counters.end()) {
      counters = decode_counters(stored->second);
    } else if (salvage_.may_be_lost(Table::counters, queue_key(number))) {
      changed(fmt::format("queue {}: its totals are lost and begin anew", queue.name));
    }
    const QueueCounters& counted = counted_[number];
    counters.ready = counted.ready;
    counters.scheduled = counted.scheduled;
    counters.leased = 0;
    counters.dead = counted.dead;
    counters.bytes = counted.bytes;
    // What was enqueued and is neither here nor was counted out is lost: dropped. What is here once more was enqueued.
    const std::uint64_t sum = counters.live() + counters.dead + counters.exits();
    if (counters.enqueued_total > sum) counters.dropped_total += counters.enqueued_total - sum;
    if (counters.enqueued_total < sum) counters.enqueued_total = sum;
    for (auto at = salvage_.finished.lower_bound(std::string_view(queue_key(number)));
         at != salvage_.finished.end(); ++at) {
      if (!at->first.starts_with(std::string_view(queue_key(number)))) break;
      counters.finished_seq =
          std::max(counters.finished_seq, get_big_endian<std::uint64_t>(at->first.data() + 4) + 1);
    }
    encode_counters(counters, &row_);
    out_->put(Table::counters, queue_key(number), row_);
  }
}

void Repair::say_lost_types(TypeNo first, TypeNo last) {
  if (first == last) {
    changed(fmt::format("job type number {0}: its name is lost; it is called 'repaired-{0}' now", first));
  } else {
    changed(
        fmt::format("job types number {0} to {1}: their names are lost; they are called 'repaired-{0}' to "
                    "'repaired-{1}' now",
                    first, last));
  }
}

void Repair::write_lanes() {
  for (const auto& [lane, ready] : lanes_) {
    encode_count(ready, &row_);
    out_->put(Table::lanes, lane_key(lane), row_);
  }
  // Without a gap. A line for each run of lost names: there may be hundreds of thousands.
  TypeNo lost_from = 0;
  for (TypeNo type = 1; type <= types_.rbegin()->first; ++type) {
    const auto [found, made] = types_.emplace(type, fmt::format("repaired-{}", type));
    if (made && lost_from == 0) lost_from = type;
    if (!made && lost_from != 0) say_lost_types(std::exchange(lost_from, 0), type - 1);
    out_->put(Table::types, type_key(type), found->second);
  }
  mark_.next_type = std::max(mark_.next_type, types_.rbegin()->first + 1);
}

// Unique keys that outlive their jobs.
void Repair::write_held_keys() {
  for (const auto& [key, row] : salvage_.unique) {
    if (key.size() <= 4 || keys_.contains(key)) continue;
    const UniqueRow unique = decode_unique(row);
    const QueueNo number = *parse_number_key(std::string_view(key).substr(0, 4));
    if (!unique.held_until.is_set() || !queues_.contains(number)) continue;
    out_->put(Table::unique, key, row);
    encode_held_key({.queue = number, .key = std::string_view(key).substr(4)}, &row_);
    out_->put(Table::timers,
              timer_key({Clock::engine, unique.held_until, unique.holder, TimerKind::unique_hold}), row_);
  }
}

void Repair::write_history() {
  std::set<std::uint64_t> known;
  for (const auto& [key, row] : salvage_.finished) {
    const auto number =
        key.size() == 12 ? parse_number_key(std::string_view(key).substr(0, 4)) : std::nullopt;
    const JobId job = decode_finished(row).job;
    if (!number || !queues_.contains(*number) || !known.insert(job.value).second) continue;
    out_->put(Table::finished, key, row);
    out_->put(Table::finished_by_job, job_key(job), key);
  }
}

// An incomplete memory would take a repeated enqueue for a new one: rather none, which producers are told.
void Repair::write_producers() {
  bool whole = !salvage_.any_lost(Table::producers) && !salvage_.any_lost(Table::answers);
  for (const DamagedRow& row : salvage_.damaged_rows)
    whole = whole && row.table != Table::producers && row.table != Table::answers;
  if (!whole) {
    changed(fmt::format(
        "the memory of enqueues that may be sent again is damaged and was left out: {} producers will be "
        "told that the outcome of what they have open is not known",
        salvage_.producers.size()));
    return;
  }
  for (const auto& [key, row] : salvage_.producers) out_->put(Table::producers, key, row);
  for (const auto& [key, row] : salvage_.answers) {
    if (salvage_.producers.contains(std::string_view(key).substr(0, sizeof(ProducerId))))
      out_->put(Table::answers, key, row);
  }
}

}  // namespace jobq::lmdb
