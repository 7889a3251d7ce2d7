#include "broker/store/rows.hpp"

#include <cstring>

#include "broker/store/bytes_io.hpp"

namespace jobq::lmdb {
namespace {

// Calls visit with every counter, in the order in which they are stored. APPEND ONLY.
template <typename Counters, typename Visit>
void each_counter(Counters& c, Visit visit) {
  visit(c.ready), visit(c.scheduled), visit(c.leased), visit(c.dead), visit(c.bytes);
  visit(c.enqueued_total), visit(c.acked_total), visit(c.expired_total), visit(c.cancelled_total);
  visit(c.purged_total), visit(c.dropped_total), visit(c.failed_total), visit(c.crashed_total);
  visit(c.lapsed_total), visit(c.released_total), visit(c.snoozed_total), visit(c.dead_total);
  visit(c.redriven_total), visit(c.duplicate_total), visit(c.finished_seq);
}

// Calls visit with every setting, in the order in which they are stored. APPEND ONLY.
template <typename Settings, typename Visit>
void each_setting(Settings& s, Visit visit) {
  visit(s.max_attempts), visit(s.backoff_min_ms), visit(s.backoff_max_ms), visit(s.backoff_factor);
  visit(s.lease_ms), visit(s.session_grace_ms), visit(s.max_run_ms), visit(s.crash_limit);
  visit(s.default_priority), visit(s.max_jobs), visit(s.max_bytes), visit(s.history_count);
  visit(s.history_age_ms), visit(s.dead_retention_ms), visit(s.target_wait_ms), visit(s.paused);
}

template <typename Enum>
Enum to_enum(std::uint64_t number, Enum last) {
  if (number > static_cast<std::uint64_t>(last))
    throw_damaged("a value in the store is outside of its enumeration");
  return static_cast<Enum>(number);
}

template <typename Enum>
std::uint64_t number_of(Enum value) {
  return static_cast<std::uint64_t>(value);
}

// answers = (sequence content_hash:u64 results)*
// results = jobs (0 state first_id count | 1 outcome id state body_differs code retry_after_ms)*
// The first form is a run of jobs created with ids in a row: what nearly every request answers.
enum class ResultForm : std::uint8_t { created_run = 0, single = 1 };

bool continues(const protocol::EnqueueResult& first, const protocol::EnqueueResult& next,
               std::uint64_t distance) {
  protocol::EnqueueResult expected = first;
  expected.id.value += distance;
  return next == expected;
}

void encode_run(const protocol::EnqueueResult& first, std::size_t count, ByteWriter* writer) {
  writer->number(number_of(ResultForm::created_run))
      .number(number_of(first.state))
      .number(first.id.value)
      .number(count);
}

void encode_results(const AnsweredJobs& answered, ByteWriter* writer) {
  writer->number(answered.size());
  if (answered.is_run()) return encode_run(answered.first(), answered.size(), writer);
  const std::vector<protocol::EnqueueResult> results = answered.all();
  for (std::size_t at = 0; at < results.size();) {
    const protocol::EnqueueResult& one = results[at];
    const bool plain =
        one == protocol::EnqueueResult{
                   .outcome = protocol::EnqueueOutcome::created, .id = one.id, .state = one.state};
    if (!plain) {
      writer->number(number_of(ResultForm::single))
          .number(number_of(one.outcome))
          .number(one.id.value)
          .number(number_of(one.state))
          .number(one.body_differs ? 1 : 0)
          .number(number_of(one.code))
          .number(one.retry_after_ms);
      ++at;
      continue;
    }
    std::size_t count = 1;
    while (at + count < results.size() && continues(one, results[at + count], count)) ++count;
    encode_run(one, count, writer);
    at += count;
  }
}

AnsweredJobs decode_results(ByteReader* reader) {
  const std::uint64_t total = reader->number();
  if (total > limits::kJobsPerMessageMax)
    throw_damaged("a resend row holds more answers than a request has jobs");
  std::vector<protocol::EnqueueResult> results;
  while (results.size() < total) {
    protocol::EnqueueResult one;
    if (to_enum(reader->number(), ResultForm::single) == ResultForm::single) {
      one.outcome = to_enum(reader->number(), protocol::EnqueueOutcome::refused);
      one.id.value = reader->number();
      one.state = to_enum(reader->number(), JobState::gone);
      one.body_differs = reader->number() != 0;
      one.code = static_cast<Code>(reader->number());
      one.retry_after_ms = reader->number32();
      results.push_back(one);
      continue;
    }
    one.state = to_enum(reader->number(), JobState::gone);
    one.id.value = reader->number();
    const std::uint64_t count = reader->number();
    if (count == 0 || count > total - results.size())
      throw_damaged("a resend row has a run of a wrong length");
    if (count == total) return AnsweredJobs::run(one.state, one.id, count);
    for (std::uint64_t i = 0; i < count; ++i, ++one.id.value) results.push_back(one);
  }
  return AnsweredJobs(results);
}

}  // namespace

void encode_format(std::uint32_t version, std::string* out) { ByteWriter(out).fixed(version); }
std::uint32_t decode_format(std::string_view row) { return ByteReader(row).fixed<std::uint32_t>(); }

void encode_mark(const MarkRow& row, std::string* out) {
  ByteWriter(out)
      .number(row.mark.next_job.value)
      .number(row.mark.next_session.value)
      .number(row.mark.next_queue)
      .number(row.mark.next_type)
      .signed_number(row.mark.now.engine.ms)
      .signed_number(row.mark.now.wall.ms)
      .number(row.indexed_below);
}
MarkRow decode_mark(std::string_view row) {
  ByteReader reader(row);
  MarkRow mark;
  mark.mark.next_job.value = reader.number();
  mark.mark.next_session.value = reader.number();
  mark.mark.next_queue = reader.number32();
  mark.mark.next_type = reader.number32();
  mark.mark.now.engine.ms = reader.signed_number();
  mark.mark.now.wall.ms = reader.signed_number();
  mark.indexed_below = reader.number();
  return mark;
}

void encode_identity(const IdentityRow& row, std::string* out) {
  ByteWriter(out)
      .raw({reinterpret_cast<const char*>(row.incarnation.data()), row.incarnation.size()})
      .fixed(row.secret)
      .fixed(row.file_inode)
      .fixed(static_cast<std::uint64_t>(row.file_born_ns));
}
IdentityRow decode_identity(std::string_view row) {
  ByteReader reader(row);
  IdentityRow identity;
  std::memcpy(identity.incarnation.data(), reader.raw(identity.incarnation.size()).data(),
              identity.incarnation.size());
  identity.secret = reader.fixed<std::uint64_t>();
  identity.file_inode = reader.fixed<std::uint64_t>();
  identity.file_born_ns = static_cast<std::int64_t>(reader.fixed<std::uint64_t>());
  return identity;
}

void encode_queue(std::string_view name, const QueueSettings& settings, std::string* out) {
  ByteWriter writer(out);
  std::uint64_t count = 0;
  each_setting(settings, [&](const auto&) { ++count; });
  writer.text(name).number(count);
  each_setting(settings, [&](const auto& value) { writer.signed_number(static_cast<std::int64_t>(value)); });
}
QueueRow decode_queue(std::string_view row) {
  ByteReader reader(row);
  QueueRow queue;
  queue.name = reader.text();
  std::uint64_t left = reader.number();
  each_setting(queue.settings, [&](auto& value) {
    if (left == 0) return;  // written before this setting existed: its default holds
    --left;
    value = static_cast<std::remove_reference_t<decltype(value)>>(reader.signed_number());
  });
  return queue;
}

void encode_counters(const QueueCounters& counters, std::string* out) {
  ByteWriter writer(out);
  std::uint64_t count = 0;
  each_counter(counters, [&](const auto&) { ++count; });
  writer.number(count);
  each_counter(counters, [&](const std::uint64_t& value) { writer.number(value); });
}
QueueCounters decode_counters(std::string_view row) {
  ByteReader reader(row);
  QueueCounters counters;
  std::uint64_t left = reader.number();
  each_counter(counters, [&](std::uint64_t& value) {
    if (left == 0) return;
    --left;
    value = reader.number();
  });
  return counters;
}

void encode_count(std::uint64_t count, std::string* out) { ByteWriter(out).number(count); }
std::uint64_t decode_count(std::string_view row) { return ByteReader(row).number(); }

void encode_unique(const UniqueRow& row, std::string* out) {
  ByteWriter(out).number(row.holder.value).fixed(row.body_hash).signed_number(row.held_until.ms);
}
UniqueRow decode_unique(std::string_view row) {
  ByteReader reader(row);
  UniqueRow unique;
  unique.holder.value = reader.number();
  unique.body_hash = reader.fixed<std::uint64_t>();
  unique.held_until.ms = reader.signed_number();
  return unique;
}

void encode_held_key(const HeldKey& row, std::string* out) {
  ByteWriter(out).number(row.queue).text(row.key);
}
HeldKey decode_held_key(std::string_view row) {
  ByteReader reader(row);
  HeldKey held;
  held.queue = reader.number32();
  held.key = reader.text();
  if (held.key.size() > limits::kUniqueKeyBytesMax) throw_damaged("a held key is longer than keys are");
  return held;
}

void encode_progress(const ProgressRow& row, std::string* out) {
  ByteWriter(out)
      .number(row.progress.lease_no)
      .number(row.progress.failures)
      .number(row.progress.crashes)
      .number(row.progress.snoozes)
      .number(row.progress.redrives)
      .number(row.progress.attempts_recorded)
      .signed_number(row.progress.ready_since.ms)
      .signed_number(row.due.ms)
      .number(number_of(row.due_clock));
}
ProgressRow decode_progress(std::string_view row) {
  ByteReader reader(row);
  ProgressRow progress;
  progress.progress.lease_no = reader.number32();
  progress.progress.failures = reader.number32();
  progress.progress.crashes = reader.number32();
  progress.progress.snoozes = reader.number32();
  progress.progress.redrives = reader.number32();
  progress.progress.attempts_recorded = reader.number32();
  progress.progress.ready_since.ms = reader.signed_number();
  progress.due.ms = reader.signed_number();
  progress.due_clock = to_enum(reader.number(), Clock::wall);
  return progress;
}

void encode_attempt(const AttemptRecord& attempt, std::string* out) {
  ByteWriter(out)
      .number(attempt.number)
      .number(number_of(attempt.outcome))
      .signed_number(attempt.started_at.ms)
      .signed_number(attempt.ended_at.ms)
      .number(attempt.session.value)
      .text(attempt.worker)
      .text(attempt.error);
}
AttemptRecord decode_attempt(std::string_view row) {
  ByteReader reader(row);
  AttemptRecord attempt;
  attempt.number = reader.number32();
  attempt.outcome = to_enum(reader.number(), AttemptOutcome::rejected);
  attempt.started_at.ms = reader.signed_number();
  attempt.ended_at.ms = reader.signed_number();
  attempt.session.value = reader.number();
  attempt.worker = reader.text();
  attempt.error = reader.text();
  return attempt;
}

void encode_dead(const DeadRow& row, std::string* out) {
  ByteWriter(out).number(number_of(row.reason)).signed_number(row.died_at.ms);
}
DeadRow decode_dead(std::string_view row) {
  ByteReader reader(row);
  DeadRow dead;
  dead.reason = to_enum(reader.number(), DeadReason::damaged);
  dead.died_at.ms = reader.signed_number();
  return dead;
}

void encode_producer(const ProducerRow& row, std::string* out) {
  ByteWriter(out).signed_number(row.seen_at.ms).number(row.lowest_open);
}
ProducerRow decode_producer(std::string_view row) {
  ByteReader reader(row);
  ProducerRow producer;
  producer.seen_at.ms = reader.signed_number();
  producer.lowest_open = reader.number();
  return producer;
}

void encode_answers(const std::vector<change::ProducerAnswer>& answers, std::string* out) {
  ByteWriter writer(out);
  for (const change::ProducerAnswer& answer : answers) {
    writer.number(answer.sequence).fixed(answer.content_hash);
    encode_results(answer.results, &writer);
  }
}
std::vector<change::ProducerAnswer> decode_answers(std::string_view row) {
  ByteReader reader(row);
  std::vector<change::ProducerAnswer> answers;
  while (!reader.done()) {
    change::ProducerAnswer& answer = answers.emplace_back();
    answer.sequence = reader.number();
    answer.content_hash = reader.fixed<std::uint64_t>();
    answer.results = decode_results(&reader);
  }
  return answers;
}

std::uint64_t newest_sequence(std::string_view row) {
  ByteReader reader(row);
  std::uint64_t newest = 0;
  while (!reader.done()) {
    newest = std::max(newest, reader.number());
    (void)reader.fixed<std::uint64_t>();
    (void)decode_results(&reader);
  }
  return newest;
}

void encode_finished(const change::AddFinished& finished, std::string* out) {
  ByteWriter(out)
      .number(finished.job.value)
      .number(number_of(finished.exit))
      .signed_number(finished.enqueued_at.ms)
      .signed_number(finished.finished_at.ms)
      .number(finished.failures)
      .text(finished.worker);
}
change::AddFinished decode_finished(std::string_view row) {
  ByteReader reader(row);
  change::AddFinished finished;
  finished.job.value = reader.number();
  finished.exit = to_enum(reader.number(), Exit::dropped);
  finished.enqueued_at.ms = reader.signed_number();
  finished.finished_at.ms = reader.signed_number();
  finished.failures = reader.number32();
  finished.worker = reader.text();
  return finished;
}

}  // namespace jobq::lmdb
