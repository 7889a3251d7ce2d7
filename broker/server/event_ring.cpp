#include "broker/server/event_ring.hpp"

#include <optional>

namespace jobq {
namespace {

constexpr std::size_t kErrorKept = 200;

JobEvent about(const JobMeta& meta, const char* kind) {
  JobEvent event;
  event.kind = kind;
  event.job = meta.id;
  event.queue = meta.lane.queue;
  event.type = meta.lane.type;
  return event;
}

void add_attempt(const std::optional<AttemptRecord>& attempt, JobEvent* event) {
  if (!attempt) return;
  event->worker = attempt->worker;
  event->error = attempt->error.substr(0, kErrorKept);
}

const char* kind_of(AttemptOutcome outcome) {
  return outcome == AttemptOutcome::rejected ? "failed" : to_string(outcome);
}

// What a change says of a job's life; nullopt: nothing.
struct EventOf {
  const Engine& engine;

  std::optional<JobEvent> operator()(const change::Enqueue& enqueue) const {
    JobEvent event = about(enqueue.meta, "enqueued");
    event.run_at = enqueue.meta.due;
    return event;
  }
  std::optional<JobEvent> operator()(const change::Lease& lease) const {
    const std::optional<LeaseView> view = engine.lease(lease.job);
    if (!view) return std::nullopt;  // Granted and ended in one turn.
    JobEvent event;
    event.kind = "leased";
    event.job = lease.job;
    event.queue = view->lane.queue;
    event.type = view->lane.type;
    event.lease_no = lease.lease_no;
    event.attempt = view->attempt;
    event.worker = view->worker;
    return event;
  }
  std::optional<JobEvent> operator()(const change::Finish& finish) const {
    return about(finish.meta, to_string(finish.exit));
  }
  std::optional<JobEvent> operator()(const change::Return& back) const {
    const char* kind = back.attempt             ? kind_of(back.attempt->outcome)
                       : back.meta.due.is_set() ? "snoozed"
                                                : "released";
    JobEvent event = about(back.meta, kind);
    event.lease_no = back.meta.progress.lease_no;
    const bool counted = back.attempt && (back.attempt->outcome == AttemptOutcome::failed ||
                                          back.attempt->outcome == AttemptOutcome::timed_out);
    if (counted) event.attempt = back.meta.progress.failures;
    event.run_at = back.meta.due;
    add_attempt(back.attempt, &event);
    return event;
  }
  std::optional<JobEvent> operator()(const change::Reschedule& move) const {
    JobEvent event = about(move.meta, "rescheduled");
    event.run_at = move.meta.due;
    return event;
  }
  std::optional<JobEvent> operator()(const change::Due& due) const { return about(due.meta, "due"); }
  std::optional<JobEvent> operator()(const change::Die& die) const {
    JobEvent event = about(die.meta, "dead");
    event.lease_no = die.meta.progress.lease_no;
    event.attempt = die.meta.progress.failures;
    event.reason = to_string(die.reason);
    add_attempt(die.attempt, &event);
    return event;
  }
  std::optional<JobEvent> operator()(const change::Redrive& redrive) const {
    return about(redrive.meta, "redriven");
  }
  template <typename Other>
  std::optional<JobEvent> operator()(const Other& /*change*/) const {
    return std::nullopt;
  }
};

}  // namespace

bool EventRing::followed(TimeMs now) {
  if (!until_.is_set()) return false;
  if (now < until_) return true;
  until_ = {};
  std::deque<JobEvent>().swap(events_);
  return false;
}

void EventRing::follow(TimeMs now) {
  if (!followed(now)) ++stream_;
  until_ = now + kFollowedFor;
}

void EventRing::observe(const std::vector<Change>& changes, const Engine& engine, TimeMs now) {
  std::size_t kept = 0;
  for (const Change& change : changes) {
    if (kept == kPerCommit) {
      // Not looked at any more: each of these may be an event, and counts as one that was missed.
      last_ += static_cast<std::uint64_t>(&changes.back() - &change) + 1;
      return;
    }
    std::optional<JobEvent> event = std::visit(EventOf{engine}, change);
    if (!event) continue;
    ++kept;
    event->seq = ++last_;
    event->at = now;
    events_.push_back(*std::move(event));
    if (events_.size() > kEventsMax) events_.pop_front();
  }
}

}  // namespace jobq
