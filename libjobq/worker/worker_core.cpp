// What the worker does by itself: time, outcomes, heartbeats, the drain. What the broker says:
// worker_replies.cpp.
#include "libjobq/worker/worker_core.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "libjobq/base/planted.hpp"
#include "libjobq/protocol/limits.hpp"

namespace jobq {

using protocol::LeaseRef;
using protocol::OutcomeKind;

const char* to_string(StopReason reason) {
  switch (reason) {
    case StopReason::none:
      return "none";
    case StopReason::drain:
      return "drain";
    case StopReason::lost_lease:
      return "lost_lease";
    case StopReason::max_run_time:
      return "max_run_time";
    case StopReason::cancel:
      return "cancel";
  }
  return "none";
}

WorkerCore::WorkerCore(LinkIdentity identity, WorkerSetup setup)
    : link_(std::move(identity)), setup_(std::move(setup)) {}

void WorkerCore::connected(TimeMs now) { link_.connected(now); }

void WorkerCore::disconnected(TimeMs /*now*/) {
  link_.disconnected();
  registered_ = false;
  register_at_ = {};
  register_id_ = 0;
  awaited_.clear();
  asleep_since_ = {};  // the next connection brings nothing old
  outcome_messages_ = 0;
  if (JOBQ_PLANTED(outcome_lost_at_a_reconnect)) outcomes_.clear();
  unsent_.clear();
  for (auto& [lease, unanswered] : outcomes_) {
    unanswered.is_sent = false;
    unsent_.push_back(lease);
  }
  std::sort(unsent_.begin(), unsent_.end());
  if (drain_) drain_->goodbye_id = 0;
}

void WorkerCore::send(protocol::Request body, Sent sent, TimeMs now, std::uint64_t* id) {
  sent.at = now;
  last_sent_ = now;
  const std::uint64_t request_id = link_.send(std::move(body));
  for (const LeaseRef& lease : sent.outcomes) outcomes_.at(lease).is_sent = true;
  if (!sent.outcomes.empty()) ++outcome_messages_;
  awaited_.emplace(request_id, std::move(sent));
  if (asleep_since_.is_set() && first_awake_ == 0) first_awake_ = request_id;
  if (id != nullptr) *id = request_id;
}

void WorkerCore::started(const LeaseRef& lease, TimeMs now) {
  const auto found = held_.find(lease);
  if (found == held_.end() || found->second.max_run.ms == 0) return;
  found->second.run_until = now + found->second.max_run;
  look_again_at(found->second.run_until);
}

void WorkerCore::look_again_at(const Held& held) {
  if (registered_ && held.extend_at.is_set()) look_again_at(held.extend_at);
  if (held.stopped) return;
  look_again_at(held.owned_until);
  if (held.run_until.is_set()) look_again_at(held.run_until);
}

std::vector<LeaseRef> WorkerCore::held_leases() const {
  std::vector<LeaseRef> leases;
  leases.reserve(held_.size());
  for (const auto& [lease, held] : held_) leases.push_back(lease);
  std::sort(leases.begin(), leases.end());
  return leases;
}

void WorkerCore::finish(JobOutcome outcome, TimeMs /*now*/) {
  if (held_.erase(outcome.lease) == 0) return;
  if (outcome.text.size() > limits::kErrorTextBytesMax) outcome.text.resize(limits::kErrorTextBytesMax);
  const LeaseRef lease = outcome.lease;
  outcomes_.emplace(lease, Unanswered{std::move(outcome)});
  unsent_.push_back(lease);
}

void WorkerCore::hand_back(const LeaseRef& lease, TimeMs now) {
  if (!held_.contains(lease)) return;
  ++handed_back_;
  finish({lease, OutcomeKind::release, "", {}, {}}, now);
}

void WorkerCore::extend(const LeaseRef& lease, TimeMs now) {
  if (const auto found = held_.find(lease); found != held_.end()) {
    found->second.extend_at = now;
    look_again_at(now);
  }
}

void WorkerCore::drain(TimeMs now, TimeMs until, DurationMs grace) {
  if (drain_ && drain_->until <= until) return;
  const std::int64_t total = std::max<std::int64_t>((until - now).ms, 0);
  // What is handed back needs a moment to be answered within the same deadline.
  const std::int64_t answer = std::min<std::int64_t>(1000, total / 5);
  Drain drain = drain_.value_or(Drain{});
  drain.until = until;
  drain.hand_back_at = now + DurationMs{total - answer};
  drain.stop_at = now + DurationMs{std::max<std::int64_t>(0, total - answer - grace.ms)};
  credit_changed_ = credit_changed_ || !drain_;
  drain_ = drain;
}

void WorkerCore::drain_at_once(TimeMs now, TimeMs until) {
  drain(now, until, {});
  drain_->stop_at = now;
  drain_->hand_back_at = now;
}

void WorkerCore::tick(TimeMs now) {
  if (done_) return;
  notice_standstill(now);
  link_.tick(now);
  if (link_.up() && !awaited_.empty() && awaited_.begin()->second.at + kAnswerTimeout <= now) {
    events_.emplace_back(worker_event::Note{
        fmt::format("the broker at {} is silent; connecting anew", link_.identity().endpoint)});
    link_.reconnect();
  }
  check_leases(now);
  if (link_.up() && !registered_ && register_at_.is_set() && register_at_ <= now) send_register(now);
  if (drain_) send_drain(now);
  if (registered_) {
    // A drain's credit of zero goes ahead of what it hands back: the broker would fill the freed credit again.
    if (credit_changed_) send_heartbeat(now);
    send_outcomes(now);
    send_heartbeat(now);
  }
  if (next_look_ && *next_look_ <= now) {
    next_look_.reset();
    for (const auto& [lease, held] : held_) look_again_at(held);
  }
  last_tick_ = now;
  next_tick_ = next_deadline();
}

// A turn that comes much later than it was due. What a broker has sent meanwhile is read after that, and some of it only
// after the next turns; so a question is asked: its reply comes behind everything that is old.
void WorkerCore::notice_standstill(TimeMs now) {
  if (asleep_since_.is_set() || !next_tick_ || *next_tick_ + kOverslept >= now) return;
  stood_still(last_tick_, last_sent_);
}

void WorkerCore::stood_still(TimeMs since, TimeMs silent_since) {
  asleep_since_ = since;
  silent_since_ = silent_since;
  first_awake_ = 0;
  credit_changed_ = true;
}

// Looks at all that is held only when something among it may be due: next_look_ is never too late, and often too early,
// because a job is mostly finished long before its time.
void WorkerCore::check_leases(TimeMs now) {
  if (!next_look_ || *next_look_ > now) return;
  for (const LeaseRef& lease : held_leases()) {
    Held& held = held_.at(lease);
    if (held.owned_until <= now) stop(lease, &held, StopReason::lost_lease);
    if (held.run_until.is_set() && held.run_until <= now) stop(lease, &held, StopReason::max_run_time);
  }
}

void WorkerCore::stop(const LeaseRef& lease, Held* held, StopReason reason) {
  if (held->stopped) return;
  held->stopped = true;
  events_.emplace_back(worker_event::Stop{lease, reason, false});
}

void WorkerCore::lose(const LeaseRef& lease) {
  if (held_.erase(lease) == 0) return;
  events_.emplace_back(worker_event::Stop{lease, StopReason::lost_lease, true});
}

// At least one outcome with its longest text fits, however low the operator has set the message size.
std::size_t WorkerCore::outcome_bytes_max() const {
  const std::size_t told = link_.broker().message_bytes_max;
  const std::size_t at_least = 2 * limits::kErrorTextBytesMax;
  return told == 0 ? kOutcomeBytesPerMessage : std::clamp(told / 2, at_least, kOutcomeBytesPerMessage);
}

void WorkerCore::send_outcomes(TimeMs now) {
  if (unsent_.empty() || !wants_outcomes()) return;
  protocol::Outcomes message;
  Sent sent;
  const std::size_t most = std::min(unsent_.size(), kOutcomesPerMessage);
  message.outcomes.reserve(most);
  sent.outcomes.reserve(most);
  std::size_t bytes = 0;
  auto next = unsent_.begin();
  for (; next != unsent_.end(); ++next) {
    // A registration on a living connection repeats what is on its way: when the answer to one of the two was an error
    // and that to the other was not, the outcome waits here although it is settled.
    const auto found = outcomes_.find(*next);
    if (found == outcomes_.end()) continue;
    const JobOutcome& outcome = found->second.outcome;
    bytes += outcome.text.size() + 64;
    if (message.outcomes.size() >= kOutcomesPerMessage || bytes > outcome_bytes_max()) break;
    message.outcomes.push_back({*next, outcome.kind, outcome.text, outcome.delay, outcome.ran_for});
    sent.outcomes.push_back(*next);
  }
  unsent_.erase(unsent_.begin(), next);
  if (sent.outcomes.empty()) return;
  send(std::move(message), std::move(sent), now);
}

// Proof of life, with the extensions that are due soon; also says that the credit has changed.
void WorkerCore::send_heartbeat(TimeMs now) {
  if (drain_ && drain_->goodbye_id != 0) return;  // It has left: there is no session to keep alive.
  bool due = credit_changed_ || heartbeat_at() <= now;
  if (next_look_ && *next_look_ <= now) {
    for (const auto& [lease, held] : held_) due = due || (held.extend_at.is_set() && held.extend_at <= now);
  }
  if (!due) return;
  protocol::Heartbeat message;
  Sent sent;
  for (const LeaseRef& lease : held_leases()) {
    Held& held = held_.at(lease);
    // Those due within a tenth of their lease ride along: one message for many.
    if (!held.extend_at.is_set() || now + DurationMs{held.lease.ms / 10} < held.extend_at) continue;
    if (message.extend.size() >= limits::kJobsPerMessageMax) break;
    message.extend.push_back(lease);
    sent.leases.push_back(lease);
    held.extend_at = now + DurationMs{std::max<std::int64_t>(held.lease.ms / 3, 1)};
    if (!setup_.extend_leases) held.extend_at = {};
    look_again_at(held);
  }
  if (drain_) message.credit_jobs = 0;
  credit_changed_ = false;
  send(std::move(message), std::move(sent), now);
}

void WorkerCore::send_drain(TimeMs now) {
  Drain& drain = *drain_;
  if (drain.stop_at <= now && !drain.stopped) {
    drain.stopped = true;
    for (const LeaseRef& lease : held_leases()) stop(lease, &held_.at(lease), StopReason::drain);
  }
  if (drain.hand_back_at <= now && !drain.handed_back) {
    drain.handed_back = true;
    for (const LeaseRef& lease : held_leases()) hand_back(lease, now);
  }
  if (!held_.empty() || !outcomes_.empty()) {
    if (drain.until <= now) done_ = true;
    return;
  }
  if (!registered_ || drain.until <= now) {
    done_ = true;
  } else if (drain.goodbye_id == 0) {
    send(protocol::Goodbye{}, {}, now, &drain.goodbye_id);
  }
}

std::optional<TimeMs> WorkerCore::next_deadline() const {
  if (done_) return std::nullopt;
  std::optional<TimeMs> next = link_.next_deadline();
  if (register_at_.is_set() && !registered_) next = earlier(next, register_at_);
  if (registered_) next = earlier(next, heartbeat_at());
  if (link_.up() && !awaited_.empty()) next = earlier(next, awaited_.begin()->second.at + kAnswerTimeout);
  if (!held_.empty()) next = earlier(next, next_look_);
  if (drain_) {
    if (!drain_->stopped) next = earlier(next, drain_->stop_at);
    if (!drain_->handed_back) next = earlier(next, drain_->hand_back_at);
    next = earlier(next, drain_->until);
  }
  return next;
}

}  // namespace jobq
