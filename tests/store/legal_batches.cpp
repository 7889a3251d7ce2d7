#include "tests/store/legal_batches.hpp"

#include <fmt/format.h>

#include "libjobq/base/check.hpp"
#include "libjobq/base/hash.hpp"

namespace jobq {
namespace {

std::size_t index_of(JobState state) { return static_cast<std::size_t>(state); }

std::uint64_t* exit_total(QueueCounters* counters, Exit exit) {
  switch (exit) {
    case Exit::acked:
      return &counters->acked_total;
    case Exit::expired:
      return &counters->expired_total;
    case Exit::cancelled:
      return &counters->cancelled_total;
    case Exit::purged:
      return &counters->purged_total;
    case Exit::dropped:
      return &counters->dropped_total;
  }
  return nullptr;
}

std::uint64_t* state_count(QueueCounters* counters, JobState state) {
  switch (state) {
    case JobState::ready:
      return &counters->ready;
    case JobState::scheduled:
      return &counters->scheduled;
    case JobState::leased:
      return &counters->leased;
    default:
      return &counters->dead;
  }
}

}  // namespace

LegalBatches::LegalBatches() { mark_.now = {TimeMs{1'700'000'000'000}, TimeMs{1'700'000'001'234}}; }

QueueNo LegalBatches::add_queue(const std::string& name, const QueueSettings& settings) {
  const QueueNo number = mark_.next_queue++;
  queues_[number] = {name, settings, {}};
  batch_.changes.emplace_back(change::PutQueue{number, name, settings});
  touched_queues_.insert(number);
  return number;
}

void LegalBatches::set_queue(QueueNo queue, const QueueSettings& settings) {
  queues_.at(queue).settings = settings;
  batch_.changes.emplace_back(change::PutQueue{queue, queues_.at(queue).name, settings});
}

void LegalBatches::remove_queue(QueueNo queue) {
  const QueueCounters& counters = queues_.at(queue).counters;
  JOBQ_CHECK(counters.live() + counters.dead == 0, "queue {}", queue);
  // Its last lane rows go before it does.
  for (auto lane = touched_lanes_.begin(); lane != touched_lanes_.end();) {
    if (lane->queue == queue) {
      batch_.changes.emplace_back(change::PutLane{*lane, 0});
      lane = touched_lanes_.erase(lane);
    } else {
      ++lane;
    }
  }
  batch_.changes.emplace_back(change::RemoveQueue{queue});
  touched_queues_.erase(queue);
  queues_.erase(queue);
}

TypeNo LegalBatches::add_type(const std::string& name) {
  const TypeNo number = mark_.next_type++;
  batch_.changes.emplace_back(change::PutType{number, name});
  return number;
}

SessionNo LegalBatches::add_session() {
  const SessionNo session = mark_.next_session;
  ++mark_.next_session.value;
  return session;
}

LegalJob* LegalBatches::find(JobId id, JobState state) {
  const auto found = jobs_.find(id);
  JOBQ_CHECK(found != jobs_.end(), "job {}", id.value);
  JOBQ_CHECK(found->second.state == state, "job {} is {}, not {}", id.value, to_string(found->second.state),
             to_string(state));
  return &found->second;
}

const std::vector<JobId>& LegalBatches::in_state(JobState state) const { return by_state_[index_of(state)]; }

std::vector<QueueNo> LegalBatches::queue_numbers() const {
  std::vector<QueueNo> numbers;
  for (const auto& [number, queue] : queues_) numbers.push_back(number);
  return numbers;
}

void LegalBatches::count_lane(const Lane& lane, std::int64_t by) {
  ready_[lane] += static_cast<std::uint64_t>(by);
  touched_lanes_.insert(lane);
}

void LegalBatches::enter(LegalJob* job, JobState state) {
  job->state = state;
  auto& list = by_state_[index_of(state)];
  job->place = list.size();
  list.push_back(job->meta.id);
  Queue& queue = queues_.at(job->meta.lane.queue);
  touched_queues_.insert(job->meta.lane.queue);
  ++*state_count(&queue.counters, state);
  if (state != JobState::dead) queue.counters.bytes += job->meta.bytes;
  if (state == JobState::ready) count_lane(job->meta.lane, 1);
}

void LegalBatches::leave(LegalJob* job) {
  auto& list = by_state_[index_of(job->state)];
  const JobId last = list.back();
  list[job->place] = last;
  jobs_.at(last).place = job->place;
  list.pop_back();
  Queue& queue = queues_.at(job->meta.lane.queue);
  touched_queues_.insert(job->meta.lane.queue);
  --*state_count(&queue.counters, job->state);
  if (job->state != JobState::dead) queue.counters.bytes -= job->meta.bytes;
  if (job->state == JobState::ready) count_lane(job->meta.lane, -1);
}

JobId LegalBatches::enqueue(const Lane& lane, const NewJob& wanted) {
  LegalJob job;
  JobMeta& meta = job.meta;
  meta.id = mark_.next_job;
  ++mark_.next_job.value;
  meta.lane = lane;
  meta.bytes = static_cast<std::uint32_t>(wanted.body.size() + wanted.headers.size());
  meta.enqueued_at = now().engine;
  meta.expires_at = wanted.expires_at;
  meta.due = wanted.due;
  meta.due_clock = wanted.due_clock;
  meta.has_unique_key = !wanted.unique_key.empty();
  meta.unique_for_ms = wanted.unique_for_ms;
  meta.max_attempts = wanted.max_attempts;
  meta.max_run_ms = wanted.max_run_ms;
  job.unique_key = wanted.unique_key;
  if (meta.has_unique_key) {
    keys_used_.emplace(lane.queue, wanted.unique_key);
    JOBQ_CHECK(keys_held_.emplace(std::pair{lane.queue, wanted.unique_key}, meta.id).second, "key {}",
               wanted.unique_key);
  }
  batch_.changes.emplace_back(
      change::Enqueue{meta, keep(wanted.headers), keep(wanted.body), keep(wanted.unique_key)});
  ++queues_.at(lane.queue).counters.enqueued_total;
  LegalJob& stored = jobs_.emplace(meta.id, job).first->second;
  enter(&stored, meta.due.is_set() ? JobState::scheduled : JobState::ready);
  return meta.id;
}

void LegalBatches::lease(JobId id, SessionNo session) {
  LegalJob* job = find(id, JobState::ready);
  leave(job);
  ++job->lease_no;
  job->session = session;
  job->granted_at = now().engine;
  batch_.changes.emplace_back(change::Lease{id, job->lease_no, session, now().engine});
  enter(job, JobState::leased);
}

void LegalBatches::move_lease(JobId id, SessionNo session) {
  LegalJob* job = find(id, JobState::leased);
  job->session = session;
  job->granted_at = now().engine;
  batch_.changes.emplace_back(change::MoveLease{id, job->lease_no, session, now().engine});
}

void LegalBatches::finish(JobId id, Exit exit, const std::string& worker) {
  LegalJob* job = &jobs_.at(id);
  const JobMeta meta = job->meta;
  const JobState from = job->state;
  leave(job);
  Queue& queue = queues_.at(meta.lane.queue);
  ++*exit_total(&queue.counters, exit);
  change::Finish finish{meta, from, exit, {}};
  if (meta.has_unique_key) {
    const std::pair name{meta.lane.queue, job->unique_key};
    if (meta.unique_for_ms > 0) {
      finish.unique_hold_until = now().engine + DurationMs{meta.unique_for_ms};
      holds_.emplace(TimerKey{Clock::engine, finish.unique_hold_until, id, TimerKind::unique_hold}, name);
    } else {
      keys_held_.erase(name);
    }
  }
  jobs_.erase(id);
  batch_.changes.emplace_back(finish);
  if (queue.settings.history_count == 0) return;
  const std::uint64_t seq = queue.counters.finished_seq++;
  const std::uint64_t kept = queue.settings.history_count;
  const std::int64_t age_ms = queue.settings.history_age_ms;
  batch_.changes.emplace_back(change::AddFinished{meta.lane.queue, seq, id, exit, meta.enqueued_at,
                                                  now().engine, meta.progress.failures, worker});
  batch_.changes.emplace_back(change::TrimFinished{meta.lane.queue, seq + 1 > kept ? seq + 1 - kept : 0,
                                                   age_ms > 0 ? TimeMs{now().engine.ms - age_ms} : TimeMs{}});
}

void LegalBatches::give_back(JobId id) {
  LegalJob* job = find(id, JobState::leased);
  leave(job);
  job->meta.progress.lease_no = job->lease_no;
  job->meta.has_progress = true;
  job->meta.due = {};
  ++queues_.at(job->meta.lane.queue).counters.released_total;
  batch_.changes.emplace_back(change::Return{job->meta, std::nullopt});
  enter(job, JobState::ready);
}

std::optional<AttemptRecord> LegalBatches::attempt(LegalJob* job, AttemptOutcome outcome,
                                                   const std::optional<std::string>& error) {
  if (!error) return std::nullopt;
  AttemptRecord record;
  record.number = ++job->meta.progress.attempts_recorded;
  record.outcome = outcome;
  record.started_at = job->granted_at;
  record.ended_at = now().engine;
  record.session = job->session;
  record.worker = fmt::format("worker-{}@host:{}", job->session.value, 100 + job->session.value);
  record.error = *error;
  return record;
}

void LegalBatches::retry(JobId id, TimeMs due, const std::optional<std::string>& error) {
  LegalJob* job = find(id, JobState::leased);
  leave(job);
  JobProgress& progress = job->meta.progress;
  progress.lease_no = job->lease_no;
  progress.ready_since = due;
  if (error) {
    ++progress.failures;
    ++queues_.at(job->meta.lane.queue).counters.failed_total;
  } else {
    ++progress.snoozes;
    ++queues_.at(job->meta.lane.queue).counters.snoozed_total;
  }
  job->meta.has_progress = true;
  job->meta.due = due;
  job->meta.due_clock = Clock::engine;
  std::optional<AttemptRecord> record = attempt(job, AttemptOutcome::failed, error);
  batch_.changes.emplace_back(change::Return{job->meta, std::move(record)});
  enter(job, JobState::scheduled);
}

void LegalBatches::die(JobId id, DeadReason reason, const std::optional<std::string>& error) {
  LegalJob* job = find(id, JobState::leased);
  leave(job);
  job->meta.progress.lease_no = job->lease_no;
  if (error) ++job->meta.progress.failures;
  job->meta.has_progress = true;
  ++queues_.at(job->meta.lane.queue).counters.dead_total;
  std::optional<AttemptRecord> record = attempt(job, AttemptOutcome::failed, error);
  batch_.changes.emplace_back(change::Die{job->meta, reason, now().engine, std::move(record)});
  enter(job, JobState::dead);
}

void LegalBatches::reschedule(JobId id, TimeMs due, Clock clock) {
  const bool was_ready = jobs_.at(id).state == JobState::ready;
  LegalJob* job = find(id, was_ready ? JobState::ready : JobState::scheduled);
  leave(job);
  const TimeMs old_due = was_ready ? TimeMs{} : job->meta.due;
  const Clock old_clock = job->meta.due_clock;
  job->meta.due = due;
  job->meta.due_clock = clock;
  job->meta.progress.ready_since = due;
  job->meta.has_progress = true;
  batch_.changes.emplace_back(change::Reschedule{job->meta, old_due, old_clock});
  enter(job, JobState::scheduled);
}

void LegalBatches::due(JobId id) {
  LegalJob* job = find(id, JobState::scheduled);
  leave(job);
  batch_.changes.emplace_back(change::Due{job->meta});
  job->meta.due = {};
  job->meta.due_clock = Clock::engine;
  job->meta.progress.ready_since = now().engine;  // known to the engine only: nothing stores it
  enter(job, JobState::ready);
}

void LegalBatches::redrive(JobId id) {
  LegalJob* job = find(id, JobState::dead);
  leave(job);
  JobProgress& progress = job->meta.progress;
  progress.failures = progress.crashes = progress.snoozes = 0;
  ++progress.redrives;
  progress.ready_since = now().engine;
  job->meta.due = {};
  ++queues_.at(job->meta.lane.queue).counters.redriven_total;
  batch_.changes.emplace_back(change::Redrive{job->meta});
  enter(job, JobState::ready);
}

void LegalBatches::release_unique(TimerKey timer) {
  keys_held_.erase(holds_.at(timer));
  holds_.erase(timer);
  batch_.changes.emplace_back(change::ReleaseUnique{timer});
}

void LegalBatches::answer(const ProducerId& id, std::uint64_t sequence, std::uint64_t lowest_open,
                          const std::vector<protocol::EnqueueResult>& results) {
  Producer& producer = producers_[id];
  producer.lowest_open = lowest_open;
  producer.next_sequence = sequence + 1;
  const std::uint64_t hash = hash64("answer", sequence);
  batch_.changes.emplace_back(
      change::PutProducer{id, now().engine, lowest_open, {{sequence, hash, AnsweredJobs(results)}}});
}

void LegalBatches::put_task(const change::PutTask& task) { batch_.changes.emplace_back(task); }

void LegalBatches::remove_task(std::uint64_t task) { batch_.changes.emplace_back(change::RemoveTask{task}); }

void LegalBatches::forget(const ProducerId& producer) {
  producers_.erase(producer);
  batch_.changes.emplace_back(change::ForgetProducer{producer});
}

void LegalBatches::pass_time(std::int64_t ms) {
  mark_.now.engine.ms += ms;
  mark_.now.wall.ms += ms;
}

LegalBatch LegalBatches::take() {
  for (const QueueNo number : touched_queues_)
    batch_.changes.emplace_back(change::PutCounters{number, queues_.at(number).counters});
  for (const Lane& lane : touched_lanes_) batch_.changes.emplace_back(change::PutLane{lane, ready_[lane]});
  touched_queues_.clear();
  touched_lanes_.clear();
  LegalBatch taken = std::move(batch_);
  taken.mark = mark_;
  batch_ = {};
  return taken;
}

}  // namespace jobq
