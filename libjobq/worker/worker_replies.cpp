// The worker's state machine, what the broker says: welcome, registered, deliveries, answers, pushes.
#include <fmt/format.h>

#include <algorithm>

#include "libjobq/base/planted.hpp"
#include "libjobq/protocol/codec.hpp"
#include "libjobq/worker/worker_core.hpp"

namespace jobq {

using protocol::ClaimResult;
using protocol::LeaseRef;
using protocol::OutcomeKind;

namespace {

// Refusals of a registration that no waiting mends.
bool is_final(Code code) {
  switch (code) {
    case Code::unsupported_version:
    case Code::bad_argument:
    case Code::forbidden:
    case Code::no_such_queue:
    case Code::bad_queue_name:
    case Code::bad_type:
    case Code::too_many_queues:
    case Code::too_many_types:
      return true;
    default:
      return false;
  }
}

}  // namespace

DeliveredJob WorkerCore::owned(const protocol::Delivery& delivery) {
  DeliveredJob job;
  if (!spare_.empty()) {
    job = std::move(spare_.back());
    spare_.pop_back();
  }
  job.lease = delivery.lease;
  job.attempt = delivery.attempt;
  job.max_attempts = delivery.max_attempts;
  job.priority = delivery.priority;
  job.queue = delivery.queue;
  job.type = delivery.type;
  job.headers = delivery.headers;
  job.body = delivery.body;
  job.enqueued_at = delivery.enqueued_at;
  job.max_run = DurationMs{delivery.max_run_ms};
  return job;
}

void WorkerCore::recycle(DeliveredJob job) {
  if (spare_.size() < kSpareJobs && job.body.capacity() + job.headers.capacity() <= kSpareBytes)
    spare_.push_back(std::move(job));
}

void WorkerCore::receive(std::string_view frame, TimeMs now) {
  const Result<protocol::ReplyMessage> message = protocol::decode_reply(frame, {limits::kMessageBytesMax});
  if (!message.ok()) {
    events_.emplace_back(worker_event::Note{fmt::format("a frame from {} was no message: {}",
                                                        link_.identity().endpoint, message.status().text())});
    return;
  }
  switch (link_.receive(*message, now)) {
    case Link::Event::up:
      return welcomed(now);
    case Link::Event::refused:
      if (is_final(link_.refusal().code())) {
        refused_ = true;
        events_.emplace_back(worker_event::Refused{link_.refusal()});
      }
      return;
    case Link::Event::consumed:
      return;
    case Link::Event::none:
      break;
  }
  notice_standstill(now);
  if (message->request_id != 0 && message->request_id == first_awake_) asleep_since_ = {};
  const auto awaited = awaited_.find(message->request_id);
  if (awaited == awaited_.end()) return on_push(*message, now);
  const Sent sent = std::move(awaited->second);
  if (!sent.outcomes.empty()) --outcome_messages_;
  awaited_.erase(awaited);
  const bool of_register = message->request_id == register_id_;
  if (of_register) register_id_ = 0;
  if (const auto* registered = std::get_if<protocol::Registered>(&message->body)) {
    if (of_register) on_registered(*registered, sent, now);
  } else if (const auto* outcomes = std::get_if<protocol::OutcomesReply>(&message->body)) {
    on_settled(outcomes->results, sent);
  } else if (const auto* heartbeat = std::get_if<protocol::HeartbeatReply>(&message->body)) {
    on_claims(heartbeat->extended, heartbeat->reasons, sent);
  } else if (std::holds_alternative<protocol::GoodbyeReply>(message->body)) {
    registered_ = false;
    done_ = true;
  } else if (const auto* error = std::get_if<protocol::Error>(&message->body)) {
    on_error(*error, sent, of_register, now);
  }
}

void WorkerCore::welcomed(TimeMs now) {
  if (incarnation_ != protocol::Incarnation{} && incarnation_ != link_.broker().incarnation) {
    events_.emplace_back(worker_event::Note{fmt::format(
        "the store of the broker at {} was replaced: what this worker held is not its own any more",
        link_.identity().endpoint)});
    lose_everything();
  }
  incarnation_ = link_.broker().incarnation;
  if (!refused_) register_at_ = now;
}

void WorkerCore::lose_everything() {
  for (const LeaseRef& lease : held_leases()) lose(lease);
  outcomes_.clear();
  unsent_.clear();
  session_ = {};
  secret_ = {};
}

void WorkerCore::send_register(TimeMs now) {
  protocol::Register message;
  Sent sent;
  message.session = session_;
  message.secret = secret_;
  for (const WorkerQueue& queue : setup_.queues) message.queues.push_back({queue.name, queue.weight});
  for (const std::string& type : setup_.types) message.types.emplace_back(type);
  message.credit_jobs = drain_ ? 0 : setup_.credit_jobs;
  message.credit_bytes = setup_.credit_bytes;
  message.name = setup_.name;
  message.build = setup_.build;
  message.host = link_.identity().host;
  message.pid = link_.identity().pid;
  std::size_t bytes = 0;
  std::vector<LeaseRef> ended;
  for (const auto& [lease, unanswered] : outcomes_) ended.push_back(lease);
  std::sort(ended.begin(), ended.end());
  unsent_.clear();
  for (const LeaseRef& lease : ended) {
    const JobOutcome& outcome = outcomes_.at(lease).outcome;
    bytes += outcome.text.size() + 64;
    if (bytes > outcome_bytes_max() || message.outcomes.size() >= limits::kJobsPerMessageMax) {
      // It follows in a message of its own; until then the job is claimed, so that it is not handed back.
      sent.leases.push_back(lease);
      outcomes_.at(lease).is_sent = false;
      unsent_.push_back(lease);
      continue;
    }
    message.outcomes.push_back({lease, outcome.kind, outcome.text, outcome.delay, outcome.ran_for});
    sent.outcomes.push_back(lease);
  }
  for (const LeaseRef& lease : held_leases()) sent.leases.push_back(lease);
  message.held = sent.leases;
  register_at_ = {};
  send(std::move(message), std::move(sent), now, &register_id_);
}

void WorkerCore::on_registered(const protocol::Registered& reply, const Sent& sent, TimeMs now) {
  registered_ = true;
  session_ = reply.session;
  secret_ = reply.secret;
  if (reply.heartbeat_ms > 0) heartbeat_ = DurationMs{reply.heartbeat_ms};
  credit_changed_ = drain_.has_value();
  if (given_up(sent.at, now)) stood_still(sent.at, sent.at);  // before it could know when a turn was due
  events_.emplace_back(worker_event::Registered{reply.session, reply.resumed});
  on_claims(reply.held, {}, sent);
  on_settled(reply.outcomes, sent);
}

void WorkerCore::on_claims(const std::vector<ClaimResult>& results, const std::vector<Code>& reasons,
                           const Sent& sent) {
  for (std::size_t i = 0; i < std::min(results.size(), sent.leases.size()); ++i) {
    const LeaseRef& lease = sent.leases[i];
    const auto found = held_.find(lease);
    if (found == held_.end()) continue;  // Finished since; its outcome gets an answer of its own.
    Held& held = found->second;
    if (results[i] != ClaimResult::owned) {
      lose(lease);
      continue;
    }
    if (i < reasons.size() && reasons[i] == Code::extend_limit) {
      held.extend_at = {};
      stop(lease, &held, StopReason::max_run_time);
      continue;
    }
    held.owned_until = sent.at + held.lease;
    if (JOBQ_PLANTED(lease_believed_longer)) held.owned_until = held.owned_until + held.lease;
    if (setup_.extend_leases)
      held.extend_at = sent.at + DurationMs{std::max<std::int64_t>(held.lease.ms / 3, 1)};
    look_again_at(held);
    events_.emplace_back(worker_event::Extended{lease, held.owned_until, sent.at});
  }
}

void WorkerCore::wait_again(const LeaseRef& lease, Unanswered* unanswered) {
  if (std::exchange(unanswered->is_sent, false)) unsent_.push_back(lease);
}

void WorkerCore::on_settled(const std::vector<ClaimResult>& results, const Sent& sent) {
  for (std::size_t i = 0; i < sent.outcomes.size(); ++i) {
    const auto found = outcomes_.find(sent.outcomes[i]);
    if (found == outcomes_.end()) continue;
    if (i >= results.size()) {  // A broker that answers fewer than it was asked: again.
      wait_again(found->first, &found->second);
      continue;
    }
    if (results[i] == ClaimResult::stale) {
      events_.emplace_back(worker_event::Note{fmt::format(
          "job {}: its outcome came too late, the lease was another's", to_text(sent.outcomes[i].job))});
    }
    events_.emplace_back(worker_event::Settled{found->first, found->second.outcome.kind, results[i]});
    outcomes_.erase(found);
  }
}

void WorkerCore::on_error(const protocol::Error& error, const Sent& sent, bool of_register, TimeMs now) {
  for (const LeaseRef& lease : sent.outcomes) {
    if (const auto found = outcomes_.find(lease); found != outcomes_.end()) wait_again(lease, &found->second);
  }
  events_.emplace_back(worker_event::Note{fmt::format(
      "the broker at {} answered {}: {}", link_.identity().endpoint, to_string(error.code), error.text)});
  if (error.code == Code::not_greeted) return link_.reconnect();
  // What was asked before the registration says nothing of that. A second one would give up what is on its way here.
  const bool asked = register_id_ != 0 || (register_at_.is_set() && !of_register);
  if (asked && !JOBQ_PLANTED(registers_twice)) return;
  if (of_register && is_final(error.code)) {
    refused_ = true;
    events_.emplace_back(worker_event::Refused{Status(error.code, error.text)});
    return;
  }
  registered_ = false;
  const bool anew = error.code == Code::unknown_session && !of_register;
  register_at_ = now + DurationMs{anew ? 0 : std::max<std::int64_t>(error.retry_after_ms, 1000)};
}

void WorkerCore::on_deliver(const protocol::Deliver& message, TimeMs now) {
  if (message.session != session_)
    return;  // Of a session that has ended since: its leases are no longer ours.
  // Sent before the broker had the registration that is on its way: what that does not claim is given to others.
  if (register_id_ != 0) return;
  for (const protocol::Delivery& delivery : message.jobs) {
    if ((held_.contains(delivery.lease) || outcomes_.contains(delivery.lease)) &&
        !JOBQ_PLANTED(delivery_run_twice))
      continue;
    Held held;
    held.lease = DurationMs{delivery.lease_ms};
    held.max_run = DurationMs{delivery.max_run_ms};
    held.owned_until = (asleep_since_.is_set() ? asleep_since_ : now) + held.lease;
    if (setup_.extend_leases) held.extend_at = now + DurationMs{std::max<std::int64_t>(held.lease.ms / 3, 1)};
    held_.emplace(delivery.lease, held);
    look_again_at(held);
    if (drain_) {  // It was on its way when the drain began.
      hand_back(delivery.lease, now);
      continue;
    }
    if (held.owned_until <= now ||
        (asleep_since_.is_set() && given_up(silent_since_, now) && !JOBQ_PLANTED(given_up_runs_on))) {
      events_.emplace_back(worker_event::Note{fmt::format(
          "job {} was delivered while this process stood still, and its lease may be over: handed back",
          to_text(delivery.lease.job))});
      finish({delivery.lease, OutcomeKind::release, "", {}, {}}, now);
      continue;
    }
    events_.emplace_back(worker_event::Run{owned(delivery), held.owned_until});
  }
}

void WorkerCore::on_push(const protocol::ReplyMessage& message, TimeMs now) {
  if (const auto* deliver = std::get_if<protocol::Deliver>(&message.body)) {
    on_deliver(*deliver, now);
  } else if (const auto* revoked = std::get_if<protocol::Revoked>(&message.body)) {
    for (const LeaseRef& lease : revoked->leases) lose(lease);
  } else if (const auto* cancel = std::get_if<protocol::CancelRequested>(&message.body)) {
    for (const LeaseRef& lease : cancel->leases) {
      if (const auto found = held_.find(lease); found != held_.end())
        stop(lease, &found->second, StopReason::cancel);
    }
  } else if (std::holds_alternative<protocol::DrainRequested>(message.body)) {
    // It is repeated with every heartbeat.
    if (!drain_) events_.emplace_back(worker_event::LeaveRequested{});
  } else if (const auto* bye = std::get_if<protocol::Bye>(&message.body)) {
    registered_ = false;
    if (bye->reason == Code::unknown_session) {
      if (register_id_ != 0) return;  // asked already
      register_at_ = now + DurationMs{bye->retry_after_ms};
    } else {
      link_.reconnect_at(now + DurationMs{std::max<std::int64_t>(bye->retry_after_ms, 1000)});
    }
  }
}

}  // namespace jobq
