// What time alone does: leases end, silent sessions are lost, timers fire, jobs fail and wait for their
// retry.
#include <algorithm>

#include "broker/engine/retry.hpp"
#include "broker/engine/state.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq {
namespace {

constexpr std::int64_t kMissedHeartbeats = 3;
constexpr std::uint32_t kTimersPerRead = 4096;  // a larger page would hold up the turn

}  // namespace

// A counted failure: a retry with backoff (or after `delay` when the worker named one), or the end of its
// attempts.
void Engine::State::fail(Leased* leased, AttemptOutcome outcome, std::string_view error, DurationMs delay) {
  Queue* queue = queues.find(leased->meta.lane.queue);
  JobProgress& progress = leased->meta.progress;
  AttemptRecord record = attempt(leased, outcome, error);
  if (!JOBQ_PLANTED(attempts_not_counted)) ++progress.failures;
  progress.crashes = 0;
  ++queue->counters.failed_total;
  const std::uint32_t allowed =
      leased->meta.max_attempts != 0 ? leased->meta.max_attempts : queue->settings.max_attempts;
  if (progress.failures >= allowed) return bury(leased, DeadReason::attempts, std::move(record));
  const DurationMs wait = delay.ms > 0 ? DurationMs{std::min(delay.ms, limits::kDelayMsMax)}
                                       : backoff(queue->settings, progress.failures, &prng);
  retry_later(leased, now.engine + wait, std::move(record));
}

// Crashes and lapses are counted apart from failures: they say something of the worker, and a job that takes
// its workers down again and again has to be stopped all the same.
void Engine::State::count_crash(Leased* leased, AttemptOutcome outcome, std::string_view error) {
  Queue* queue = queues.find(leased->meta.lane.queue);
  JobProgress& progress = leased->meta.progress;
  AttemptRecord record = attempt(leased, outcome, error);
  ++progress.crashes;
  ++(outcome == AttemptOutcome::crashed ? queue->counters.crashed_total : queue->counters.lapsed_total);
  touch(queue);
  if (progress.crashes >= queue->settings.crash_limit)
    return bury(leased, DeadReason::crashes, std::move(record));
  retry_later(leased, now.engine + backoff(queue->settings, progress.crashes, &prng), std::move(record));
}

void Engine::State::end_lease(Leased* leased) {
  const Session* session = sessions.find(leased->session);
  if (session->connected) revoked[leased->session].push_back({leased->meta.id, leased->lease_no});
  if (leased->cancel_requested) return finish_leased(leased, Exit::cancelled);
  if (leased->recovered) return give_back(leased);
  if (leased->orphaned) {
    return count_crash(leased, AttemptOutcome::crashed, "the worker was lost and did not come back in time");
  }
  const Queue* queue = queues.find(leased->meta.lane.queue);
  const std::uint32_t run_ms =
      leased->meta.max_run_ms != 0 ? leased->meta.max_run_ms : queue->settings.max_run_ms;
  if (run_ms != 0 &&
      now.engine >= leased->granted_at + DurationMs{run_ms} + DurationMs{limits.stop_grace_ms}) {
    return fail(leased, AttemptOutcome::timed_out, "it ran longer than max_run_time", {});
  }
  count_crash(leased, AttemptOutcome::lapsed, "the lease ran out while the worker was connected");
}

void Engine::State::end_leases() {
  while (Leased* leased = leases.first_ended(now.engine)) end_lease(leased);
}

void Engine::State::lose_silent_sessions() {
  const DurationMs patience{kMissedHeartbeats * limits.heartbeat_ms};
  while (Session* session = sessions.most_silent()) {
    if (now.engine - session->heard_at < patience) return;
    const PeerId peer = session->peer;
    lose(session);
    // If it is only slow, it learns so and registers again with what it holds.
    out->messages.push_back({peer, 0, protocol::Bye{Code::unknown_session, 0}});
  }
}

void Engine::State::fire(const TimerEntry& timer) {
  switch (timer.key.kind) {
    case TimerKind::due:
      return become_due(timer.meta);
    case TimerKind::expiry:
      // A running attempt finishes. For the others the store is asked how things stand.
      if (leases.find(timer.key.job) == nullptr) out->reads.emplace_back(ReadJob{timer.key.job});
      return;
    case TimerKind::unique_hold:
      out->changes.emplace_back(change::ReleaseUnique{timer.key});
      return;
  }
}

// At most so many in one turn, however many are due: after a jump of the clock nothing fires in a rush.
void Engine::State::fire_timers() {
  std::uint32_t left = limits.due_per_tick_max;
  for (TimerWindow* window : {&engine_timers, &wall_timers}) {
    const TimeMs reading = window == &engine_timers ? now.engine : now.wall;
    const std::uint32_t allowed = left;
    for (; left > 0; --left) {
      const std::optional<TimerEntry> timer = window->pop_due(reading);
      if (!timer) break;
      fire(*timer);
      if (JOBQ_PLANTED(jump_fires_twice) && reading - timer->key.at > DurationMs{3'600'000}) fire(*timer);
    }
    if (left == 0) work_left = true;
    window->trim(limits.timer_window);
    if (!window->more() || window->size() >= limits.timer_window / 2) continue;
    // The window bounds what is kept, not what a turn fires: where much was due, as much again and more may be. Of such a
    // page stays what the window has room for.
    const std::uint32_t fired = JOBQ_PLANTED(window_limits_turn) ? 0 : allowed - left;
    const std::uint32_t due = std::min(2 * std::min(fired, kTimersPerRead), limits.due_per_tick_max);
    const std::uint32_t page = std::min(std::max(limits.timer_window / 2, due), kTimersPerRead);
    out->reads.emplace_back(ReadTimers{window->horizon().clock, 0, window->horizon(), page});
  }
}

void Engine::State::job_read(const command::JobRead& read) {
  const JobFact& fact = read.fact;
  if (!fact.known || touched(read.job)) return;
  if (fact.state != JobState::ready && fact.state != JobState::scheduled) return;
  if (!fact.meta.expires_at.is_set() || fact.meta.expires_at > now.engine) return;
  finish_waiting(fact.meta, fact.state, Exit::expired);
}

}  // namespace jobq
