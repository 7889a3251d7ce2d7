#include <fmt/format.h>

#include <algorithm>

#include "libjobq/base/hash.hpp"
#include "tests/sim/cast.hpp"

namespace jobq::sim {

using faults::Event;
using faults::EventType;
using protocol::LeaseRef;
using protocol::OutcomeKind;

namespace {

const char* op_of(OutcomeKind kind) {
  switch (kind) {
    case OutcomeKind::ack:
      return "ack";
    case OutcomeKind::nack:
      return "nack";
    case OutcomeKind::release:
    case OutcomeKind::no_handler:
      return "release";
    case OutcomeKind::reject:
      return "reject";
    case OutcomeKind::snooze:
      return "snooze";
  }
  return "?";
}

Event about(const char* op, EventType type, const LeaseRef& lease) {
  Event event = happened(op, type);
  event.job = to_text(lease.job);
  event.token = lease.lease_no;
  return event;
}

// Once healed, every worker serves everything.
WorkerSetup setup_of(const Stage& stage, const std::string& name, Prng* prng) {
  const FaultMix& mix = *stage.mix;
  WorkerSetup setup;
  for (std::uint64_t n = 0; n < mix.queues; ++n)
    if (*stage.healed || prng->below(3) != 0)
      setup.queues.emplace_back(queue_name(n), static_cast<std::uint32_t>(prng->between(1, 5)));
  if (mix.removals > 0 && (*stage.healed || prng->below(4) == 0))
    setup.queues.emplace_back(queue_name(mix.queues), 1);
  if (setup.queues.empty()) setup.queues.emplace_back(queue_name(prng->below(mix.queues)));
  if (mix.types > 0 && !*stage.healed && prng->below(2) == 0) {
    setup.types.emplace_back("");
    setup.types.push_back(fmt::format("t{}", prng->below(mix.types)));
  }
  setup.credit_jobs = static_cast<std::uint32_t>(prng->between(1, mix.credit));
  setup.extend_leases = mix.extend_leases;
  setup.name = name;
  setup.build = "sim";
  return setup;
}

}  // namespace

SimWorker::SimWorker(const Stage& stage, std::string name, Prng prng, Script* script)
    : Process(stage, name, prng),
      script_(script),
      core_({"sim", "jobq-sim", name, 1}, setup_of(stage, name, &prng_)) {}

void SimWorker::leave() {
  const TimeMs now = local(stage_.timeline->now());
  if (!core_.draining()) core_.drain(now, now + DurationMs{prng_.between(100, 10'000)}, DurationMs{1'000});
  woken();
}

TimeMs SimWorker::wants_turn_at() const { return running_.empty() ? kNever : world(running_.begin()->first); }

void SimWorker::before_turn(TimeMs now) {
  while (!running_.empty() && running_.begin()->first <= now) {
    const JobOutcome outcome = running_.begin()->second;
    running_.erase(running_.begin());
    Event event = about(op_of(outcome.kind), EventType::invoke, outcome.lease);
    event.seq = next_seq_++;
    event.delay_ms = outcome.delay.ms;
    event.err = outcome.text;
    asked_[outcome.lease] = {event.seq, registrations_};
    write(std::move(event));
    core_.finish(outcome, now);
  }
}

void SimWorker::after_turn(TimeMs now) {
  // What the drain has handed back by itself.
  if (core_.draining() && core_.held() == 0) {
    for (const auto& [at, outcome] : running_) {
      Event event = about("release", EventType::invoke, outcome.lease);
      event.seq = next_seq_++;
      asked_[outcome.lease] = {event.seq, registrations_};
      write(std::move(event));
    }
    running_.clear();
  }
  for (const WorkerEvent& event : core_.take_events()) {
    if (std::holds_alternative<worker_event::Registered>(event)) ++registrations_;
    if (const auto* what = std::get_if<worker_event::Run>(&event)) run(*what, now);
    if (const auto* what = std::get_if<worker_event::Settled>(&event)) settled(*what);
    if (const auto* what = std::get_if<worker_event::Extended>(&event)) extended(*what);
    if (const auto* what = std::get_if<worker_event::Stop>(&event)) stopped(*what, now);
    if (std::holds_alternative<worker_event::LeaveRequested>(event)) leave();
  }
}

void SimWorker::run(const worker_event::Run& run, TimeMs now) {
  Event event = about("deliver", EventType::ok, run.job.lease);
  event.t = frame_arrived().ms;
  event.attempt = run.job.attempt;
  event.max_attempts = run.job.max_attempts;
  event.queue = run.job.queue;
  event.kind = run.job.type;
  event.prio = run.job.priority;
  event.hash = fmt::format("{:016x}", hash64(run.job.body));
  event.lease_ms = (run.owned_until - now).ms;
  event.may_time_out = run.job.max_run.ms > 0;
  write(std::move(event));
  core_.started(run.job.lease, now);
  const bool long_run = !script_->healed && prng_.below(20) == 0;
  const std::int64_t at_most = script_->healed ? 2 : (long_run ? stage_.mix->run_max_ms : stage_.mix->run_ms);
  // Draws one after the other, each in a statement: compilers differ in the order of arguments.
  JobOutcome outcome = outcome_of(run);
  const DurationMs takes{prng_.between(0, at_most)};
  running_.emplace(now + takes, std::move(outcome));
}

JobOutcome SimWorker::outcome_of(const worker_event::Run& run) {
  const FaultMix& mix = *stage_.mix;
  JobOutcome outcome{
      .lease = run.job.lease, .kind = OutcomeKind::ack, .text = "", .delay = {}, .ran_for = {}};
  std::uint64_t fate = prng_.below(1'000);
  if (script_->healed) return outcome;
  const auto falls_to = [&fate](std::uint32_t share) {
    const bool here = fate < share;
    fate -= std::min<std::uint64_t>(fate, share);
    return here;
  };
  if (falls_to(mix.nacks)) {
    outcome.kind = OutcomeKind::nack;
    outcome.text = fmt::format("attempt {} failed", run.job.attempt);
    if (prng_.below(2) == 0) outcome.delay = DurationMs{prng_.between(1, 2'000)};
  } else if (falls_to(mix.rejects)) {
    outcome.kind = OutcomeKind::reject;
    outcome.text = "never again";
  } else if (falls_to(mix.releases)) {
    outcome.kind = OutcomeKind::release;
  } else if (falls_to(mix.snoozes)) {
    outcome.kind = OutcomeKind::snooze;
    outcome.delay = DurationMs{prng_.between(1, 2'000)};
  }
  return outcome;
}

// An outcome that was sent again after a reconnect may have been carried out at its first sending, whose answer got
// lost: then "gone" or "stale" says only that the lease is over. A first sending is refused for sure.
void SimWorker::settled(const worker_event::Settled& settled) {
  const auto found = asked_.extract(settled.lease);
  if (found.empty()) return;  // handed back by the drain
  EventType type = EventType::ok;
  if (settled.result != protocol::ClaimResult::settled)
    type = found.mapped().registrations == registrations_ ? EventType::fail : EventType::info;
  Event event = about(op_of(settled.kind), type, settled.lease);
  event.seq = found.mapped().seq;
  event.err = settled.result == protocol::ClaimResult::stale ? "stale" : "";
  write(std::move(event));
}

// The library asks by itself, and says so with the answer, which may have lain unread while this worker was frozen.
void SimWorker::extended(const worker_event::Extended& extended) {
  Event event = about("extend", EventType::invoke, extended.lease);
  event.t = extended.asked_at.ms;
  event.seq = next_seq_++;
  write(event);
  event.t = 0;
  event.type = EventType::ok;
  event.lease_ms = (extended.owned_until - extended.asked_at).ms;
  write(std::move(event));
}

// A handler that is asked to stop does so now and then; one whose job is lost has nothing more to say.
void SimWorker::stopped(const worker_event::Stop& stop, TimeMs now) {
  const auto found = std::find_if(running_.begin(), running_.end(),
                                  [&](const auto& run) { return run.second.lease == stop.lease; });
  if (stop.lost) {
    write(about("revoked", EventType::ok, stop.lease));
    if (found != running_.end()) running_.erase(found);
  } else if (found != running_.end() && prng_.below(2) == 0) {
    JobOutcome outcome = found->second;
    running_.erase(found);
    running_.emplace(now, std::move(outcome));
  }
}

}  // namespace jobq::sim
