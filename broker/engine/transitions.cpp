// The only places where a job changes its state. Each function moves one job, keeps counters, lanes, windows
// and tables in step, and appends the one change that makes it durable.
#include <algorithm>

#include "broker/engine/retry.hpp"
#include "broker/engine/state.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq {

void Engine::State::touch(Queue* queue) {
  if (queue->touched) return;
  queue->touched = true;
  touched_queues.push_back(queue);
}

void Engine::State::set_lane_ready(LaneState* lane, bool up) {
  Queue* queue = lane->queue;
  Stream& stream = *lane->stream;
  if (up) {
    if (++lane->ready == 1) stream.ready_priorities |= 1U << lane->lane.priority;
    ++stream.ready;
    if (++queue->counters.ready == 1 && (queue->subscribers.empty() || !JOBQ_PLANTED(empty_queue_not_woken)))
      ready_queues.insert(queue->number);
  } else {
    JOBQ_CHECK(lane->ready > 0 && stream.ready > 0 && queue->counters.ready > 0, "queue {}", queue->name);
    if (--lane->ready == 0) stream.ready_priorities &= ~(1U << lane->lane.priority);
    --stream.ready;
    if (--queue->counters.ready == 0) ready_queues.erase(queue->number);
  }
  touch(queue);
  if (!lane->touched) {
    lane->touched = true;
    touched_lanes.push_back(lane);
  }
}

void Engine::State::enter_ready(const JobMeta& meta, SessionNo avoid, TimeMs avoid_until) {
  LaneState* lane = queues.lane(meta.lane);
  set_lane_ready(lane, true);
  // Many lanes share one budget: a lane may always keep a little, so that none is starved of its head.
  constexpr std::size_t kAlways = 64;
  const std::size_t capacity = window_jobs < limits.window_jobs_max ? limits.lane_window : kAlways;
  const std::size_t before = lane->window.size();
  lane->window.insert({.meta = meta, .avoid = avoid, .avoid_until = avoid_until}, capacity);
  window_jobs += lane->window.size();
  window_jobs -= before;
}

void Engine::State::leave_ready(const JobMeta& meta) {
  LaneState* lane = queues.lane(meta.lane);
  set_lane_ready(lane, false);
  if (lane->window.erase(meta.id)) --window_jobs;
}

void Engine::State::enter_scheduled(const JobMeta& meta) {
  Queue* queue = queues.find(meta.lane.queue);
  ++queue->counters.scheduled;
  touch(queue);
  TimerWindow& window = meta.due_clock == Clock::engine ? engine_timers : wall_timers;
  window.insert({.clock = meta.due_clock, .at = meta.due, .job = meta.id, .kind = TimerKind::due}, meta);
}

void Engine::State::leave_scheduled(const JobMeta& meta) {
  Queue* queue = queues.find(meta.lane.queue);
  JOBQ_CHECK(queue->counters.scheduled > 0, "queue {}", queue->name);
  --queue->counters.scheduled;
  touch(queue);
  TimerWindow& window = meta.due_clock == Clock::engine ? engine_timers : wall_timers;
  window.erase({.clock = meta.due_clock, .at = meta.due, .job = meta.id, .kind = TimerKind::due});
}

TimeMs Engine::State::lease_end(const Queue& queue, const JobMeta& meta, TimeMs granted_at,
                                std::int64_t* list) const {
  const TimeMs full = now.engine + DurationMs{queue.settings.lease_ms};
  *list = queue.settings.lease_ms;
  const std::uint32_t run_ms = meta.max_run_ms != 0 ? meta.max_run_ms : queue.settings.max_run_ms;
  if (run_ms == 0) return full;
  const TimeMs last = granted_at + DurationMs{run_ms} + DurationMs{limits.stop_grace_ms};
  if (full < last) return full;
  *list = -std::int64_t{run_ms};  // A list of its own: these end by their grant, not by their last extension.
  return last;
}

// REQUIRES: the entry was taken out of its window.
Leased* Engine::State::grant(const JobMeta& meta, Session* session) {
  Queue* queue = queues.find(meta.lane.queue);
  set_lane_ready(queues.lane(meta.lane), false);
  ++queue->counters.leased;
  queue->granted_at = now.engine;
  Leased leased{.meta = meta, .lease_no = meta.progress.lease_no + 1, .session = session->number};
  leased.granted_at = now.engine;
  std::int64_t list = 0;
  leased.until = lease_end(*queue, meta, leased.granted_at, &list);
  leased.held_index = static_cast<std::uint32_t>(session->held.size());
  session->held.push_back(meta.id);
  session->held_bytes += meta.bytes;
  touched_jobs.push_back(meta.id);
  out->changes.emplace_back(change::Lease{meta.id, leased.lease_no, session->number, now.engine});
  return leases.insert(leased, list);
}

// Takes the lease out of the tables; the caller has copied what it needs.
void Engine::State::drop_lease(Leased* leased) {
  Session* session = sessions.find(leased->session);
  JOBQ_CHECK(session != nullptr, "job {} is held by session {}", leased->meta.id.value,
             leased->session.value);
  const JobId last = session->held.back();
  if (last != leased->meta.id) {
    session->held[leased->held_index] = last;
    leases.find(last)->held_index = leased->held_index;
  }
  session->held.pop_back();
  session->held_bytes -= leased->meta.bytes;
  if (!session->cancelling.empty()) session->cancelling.erase(leased->meta.id);
  Queue* queue = queues.find(leased->meta.lane.queue);
  JOBQ_CHECK(queue->counters.leased > 0);
  if (!JOBQ_PLANTED(leased_not_counted_down)) --queue->counters.leased;
  touch(queue);
  touched_jobs.push_back(leased->meta.id);
  const SessionNo number = leased->session;
  leases.erase(leased);
  if (!session->connected && session->held.empty()) sessions.erase(number);
}

// Counts and remembers that a job has left.
void Engine::State::finished(Queue* queue, const JobMeta& meta, Exit exit, LeaseNo lease_no,
                             const std::string& worker) {
  QueueCounters& counters = queue->counters;
  switch (exit) {
    case Exit::acked:
      ++counters.acked_total;
      break;
    case Exit::expired:
      ++counters.expired_total;
      break;
    case Exit::cancelled:
      ++counters.cancelled_total;
      break;
    case Exit::purged:
      ++counters.purged_total;
      break;
    case Exit::dropped:
      ++counters.dropped_total;
      break;
  }
  queue->finished.push_back({meta.id, lease_no, exit, meta.enqueued_at, now.engine, meta.progress.failures});
  ++finished_jobs;
  if (finished_indexed) finished_index[meta.id] = lease_no;
  // Every queue keeps its own, within a bound over all of them.
  constexpr std::uint64_t kFinishedJobsMax = 500'000;
  const std::size_t keep_in_memory = finished_jobs <= kFinishedJobsMax ? limits.finished_kept : 16;
  for (; queue->finished.size() > keep_in_memory; --finished_jobs) queue->finished.pop_front();
  if (queue->settings.history_count == 0) return;
  const std::uint64_t seq = counters.finished_seq++;
  out->changes.emplace_back(change::AddFinished{queue->number, seq, meta.id, exit, meta.enqueued_at,
                                                now.engine, meta.progress.failures, worker});
  const std::uint64_t keep = queue->settings.history_count;
  const std::int64_t age_ms = queue->settings.history_age_ms;
  out->changes.emplace_back(change::TrimFinished{queue->number, seq + 1 > keep ? seq + 1 - keep : 0,
                                                 age_ms > 0 ? TimeMs{now.engine.ms - age_ms} : TimeMs{}});
}

// Until when the key of a job that ends now stays taken; zero: it is free at once.
TimeMs Engine::State::hold_key(const JobMeta& meta) {
  if (!meta.has_unique_key || meta.unique_for_ms <= 0) return {};
  const TimeMs until = now.engine + DurationMs{meta.unique_for_ms};
  engine_timers.insert({Clock::engine, until, meta.id, TimerKind::unique_hold}, meta);
  return until;
}

void Engine::State::finish_leased(Leased* leased, Exit exit) {
  const JobMeta meta = leased->meta;
  const LeaseNo lease_no = leased->lease_no;
  Queue* queue = queues.find(meta.lane.queue);
  const Session* session = sessions.find(leased->session);
  const std::string worker = queue->settings.history_count > 0 ? session->worker : std::string{};
  drop_lease(leased);
  queue->counters.bytes -= meta.bytes;
  finished(queue, meta, exit, lease_no, worker);
  out->changes.emplace_back(change::Finish{meta, JobState::leased, exit, hold_key(meta)});
}

// Scheduled, ready and dead jobs.
void Engine::State::finish_waiting(const JobMeta& meta, JobState from, Exit exit) {
  Queue* queue = queues.find(meta.lane.queue);
  if (from == JobState::ready) leave_ready(meta);
  if (from == JobState::scheduled) leave_scheduled(meta);
  if (from == JobState::dead) {
    JOBQ_CHECK(queue->counters.dead > 0);
    --queue->counters.dead;
  } else {
    queue->counters.bytes -= meta.bytes;
  }
  touch(queue);
  touched_jobs.push_back(meta.id);
  finished(queue, meta, exit, meta.progress.lease_no, {});
  out->changes.emplace_back(change::Finish{meta, from, exit, hold_key(meta)});
}

// scheduled -> ready, because its time has come. REQUIRES: its timer is in no window any more, or due.
void Engine::State::become_due(const JobMeta& scheduled) {
  JobMeta meta = scheduled;
  leave_scheduled(meta);
  out->changes.emplace_back(change::Due{meta});
  touched_jobs.push_back(meta.id);
  meta.progress.ready_since = now.engine;
  meta.due = {};
  meta.due_clock = Clock::engine;
  enter_ready(meta, {}, {});
}

// scheduled or ready -> scheduled, at another time.
void Engine::State::reschedule(const JobMeta& waiting, JobState from, TimeMs due, Clock clock) {
  JobMeta meta = waiting;
  const TimeMs old_due = from == JobState::scheduled ? meta.due : TimeMs{};
  const Clock old_clock = meta.due_clock;
  if (from == JobState::scheduled) leave_scheduled(meta);
  if (from == JobState::ready) leave_ready(meta);
  meta.due = due;
  meta.due_clock = clock;
  // Nobody counts what it waits until then as waiting for a worker.
  meta.progress.ready_since = clock == Clock::engine ? due : now.engine + (due - now.wall);
  meta.has_progress = true;
  touched_jobs.push_back(meta.id);
  enter_scheduled(meta);
  out->changes.emplace_back(change::Reschedule{meta, old_due, old_clock});
}

// dead -> ready: counters zeroed, lease_no and history kept.
void Engine::State::redrive(const JobMeta& dead) {
  JobMeta meta = dead;
  Queue* queue = queues.find(meta.lane.queue);
  meta.progress.failures = 0;
  meta.progress.crashes = 0;
  meta.progress.snoozes = 0;
  ++meta.progress.redrives;
  meta.progress.ready_since = now.engine;
  meta.has_progress = true;
  meta.due = {};
  JOBQ_CHECK(queue->counters.dead > 0);
  --queue->counters.dead;
  ++queue->counters.redriven_total;
  queue->counters.bytes += meta.bytes;
  touch(queue);
  touched_jobs.push_back(meta.id);
  out->changes.emplace_back(change::Redrive{meta});
  enter_ready(meta, {}, {});
}

AttemptRecord Engine::State::attempt(Leased* leased, AttemptOutcome outcome, std::string_view error) {
  AttemptRecord record;
  record.number = JOBQ_PLANTED(history_overwritten) ? 1 : ++leased->meta.progress.attempts_recorded;
  record.outcome = outcome;
  record.started_at = leased->granted_at;
  record.ended_at = now.engine;
  record.session = leased->session;
  if (const Session* session = sessions.find(leased->session); session != nullptr)
    record.worker = session->worker;
  // When the store is nearly full, what is kept of an error is its beginning.
  const std::size_t keep = admission.refuse == Code::ok ? limits::kErrorTextBytesMax : 256;
  record.error = std::string{error.substr(0, keep)};
  return record;
}

void Engine::State::give_back(Leased* leased, Offer offer) {
  JobMeta meta = leased->meta;
  if (!JOBQ_PLANTED(lease_no_reused)) meta.progress.lease_no = leased->lease_no;
  meta.has_progress = true;
  const SessionNo session = leased->session;
  drop_lease(leased);
  constexpr DurationMs kAvoid{1'000};
  const bool avoid = offer == Offer::to_others_first;
  enter_ready(meta, avoid ? session : SessionNo{}, avoid ? now.engine + kAvoid : TimeMs{});
  out->changes.emplace_back(change::Return{meta, std::nullopt});
}

// due zero: ready at once.
void Engine::State::retry_later(Leased* leased, TimeMs due, std::optional<AttemptRecord> record) {
  JobMeta meta = leased->meta;
  meta.progress.lease_no = leased->lease_no;
  meta.has_progress = true;
  meta.due = due;
  meta.due_clock = Clock::engine;
  meta.progress.ready_since = due;
  Queue* queue = queues.find(meta.lane.queue);
  if (meta.expires_at.is_set() && due >= meta.expires_at) {
    finish_leased(leased, Exit::expired);  // It could only start after its expiry.
    return;
  }
  drop_lease(leased);
  touch(queue);
  enter_scheduled(meta);
  out->changes.emplace_back(change::Return{meta, std::move(record)});
}

void Engine::State::bury(Leased* leased, DeadReason reason, std::optional<AttemptRecord> record) {
  JobMeta meta = leased->meta;
  meta.progress.lease_no = leased->lease_no;
  meta.has_progress = true;
  Queue* queue = queues.find(meta.lane.queue);
  drop_lease(leased);
  ++queue->counters.dead;
  ++queue->counters.dead_total;
  if (!JOBQ_PLANTED(bytes_of_the_dead_counted)) queue->counters.bytes -= meta.bytes;
  out->changes.emplace_back(change::Die{meta, reason, now.engine, std::move(record)});
}

}  // namespace jobq
