// The worker's side: register, outcomes, heartbeats, and what happens when a worker goes away (semantics 8 to
// 17).
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "broker/engine/retry.hpp"
#include "broker/engine/state.hpp"
#include "libjobq/base/bytes.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/hash.hpp"
#include "libjobq/base/planted.hpp"
#include "libjobq/protocol/names.hpp"

namespace jobq {

using protocol::ClaimResult;

namespace {

constexpr std::uint32_t kSnoozesMax = 1'000;

// A secret may leak; a session number may be guessed. Compared without an early exit.
bool same_secret(const protocol::Secret& a, const protocol::Secret& b) {
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  return difference == 0;
}

// The fence: the lease is named by its number, and held by this very session.
bool holds(const Session& session, const Leased& leased, const protocol::LeaseRef& ref) {
  const bool same_lease = leased.lease_no == ref.lease_no || JOBQ_PLANTED(lease_no_ignored) ||
                          (JOBQ_PLANTED(lease_no_at_least) && leased.lease_no >= ref.lease_no);
  const bool same_session = leased.session == session.number || JOBQ_PLANTED(session_ignored);
  return same_lease && same_session;
}

std::string worker_text(const protocol::Register& request) {
  return fmt::format("{}@{}:{}", request.name.empty() ? "worker" : request.name,
                     request.host.empty() ? "?" : request.host, request.pid);
}

}  // namespace

// Derived, so that nothing has to be stored for a session to be taken up again after a restart. A keyed hash
// that is not a cryptographic one: it keeps honest workers apart on a trusted network, which is all that is
// promised there.
protocol::Secret Engine::State::session_secret(SessionNo session) const {
  std::string text;
  put_big_endian(&text, session.value);
  put_big_endian(&text, secret);
  protocol::Secret made{};
  for (std::uint64_t half = 0; half < 2; ++half) {
    const std::uint64_t hash = to_big_endian(hash64(text, secret + half));
    std::memcpy(made.data() + half * sizeof(hash), &hash, sizeof(hash));
  }
  return made;
}

void Engine::State::unsubscribe(Session* session) {
  for (const Subscription& subscription : session->subscriptions) {
    queues.find(subscription.queue)->subscribers.erase(session->number);
  }
}

void Engine::State::subscribe(Session* session, const protocol::Register& request) {
  unsubscribe(session);
  session->subscriptions.clear();
  session->cursor = 0;
  for (const protocol::WeightedQueue& wanted : request.queues) {
    Queue* queue = queues.find(wanted.name);
    if (queue == nullptr) queue = create_queue(wanted.name);
    if (!queue->subscribers.insert(session)) continue;  // Named twice.
    session->subscriptions.push_back({queue->number, std::clamp(wanted.weight, 1U, limits::kWeightMax), 0});
  }
  session->types.clear();
  session->struck.clear();
  session->type_names.clear();
  for (const std::string_view type : request.types) {
    session->types.insert(type_number(type));
    session->type_names.emplace_back(type);
  }
}

// After a restart the finished jobs are forgotten; the store still knows that they are not there any more.
ClaimResult Engine::State::if_gone(ClaimResult result, const JobFact& fact, JobId job) const {
  return result == ClaimResult::stale && !fact.known && job < mark.next_job ? ClaimResult::gone : result;
}

bool Engine::State::register_worker(const Command& command, const protocol::Register& request,
                                    const Facts& facts) {
  for (const protocol::Outcome& outcome : request.outcomes) {
    if (touched(outcome.lease.job)) return false;
  }
  for (const protocol::LeaseRef& ref : request.held) {
    if (touched(ref.job)) return false;
  }
  JOBQ_CHECK(facts.jobs.size() == request.outcomes.size() + request.held.size(), "{} facts",
             facts.jobs.size());
  if (const Status status = check_registration(request); !status.ok()) {
    refuse(command, status.code(), status.text());
  } else {
    admit_worker(command, request, facts);
  }
  return true;
}

// Whether the request can be granted at all.
Status Engine::State::check_registration(const protocol::Register& request) const {
  std::size_t new_queues = 0;
  for (const protocol::WeightedQueue& wanted : request.queues) {
    if (!protocol::is_queue_name(wanted.name)) {
      return Status(Code::bad_queue_name, fmt::format("'{}' is no name for a queue", wanted.name));
    }
    if (queues.find(wanted.name) != nullptr) continue;
    ++new_queues;
    if (!limits.auto_create) {
      return Status(Code::no_such_queue,
                    fmt::format("no queue is called '{}', and auto_create is off", wanted.name));
    }
  }
  if (request.queues.empty()) return Status(Code::bad_argument, "a worker serves at least one queue");
  if (queues.size() + new_queues > limits.queues_max) {
    return Status(Code::too_many_queues, fmt::format("there are {} queues already", queues.size()));
  }
  std::size_t new_types = 0;
  for (const std::string_view type : request.types) {
    if (!protocol::is_type(type))
      return Status(Code::bad_type, fmt::format("'{}' is no name for a type", type));
    if (!type.empty() && !type_numbers.contains(type)) ++new_types;
  }
  if (types.size() + new_types > limits.types_max) {
    return Status(Code::too_many_types, fmt::format("there are {} types already", types.size()));
  }

  return {};
}

void Engine::State::admit_worker(const Command& command, const protocol::Register& request,
                                 const Facts& facts) {
  const bool knows =
      request.session.is_set() && request.session < mark.next_session &&
      (same_secret(request.secret, session_secret(request.session)) || JOBQ_PLANTED(session_without_secret));
  const SessionNo number = knows ? request.session : mark.next_session;
  if (!knows) mark.next_session.value++;
  Session* session = sessions.find(number);
  if (session == nullptr) session = sessions.insert(number);
  if (Session* other = sessions.of_peer(command.peer); other != nullptr && other != session) lose(other);
  // The old one may have ended just now; ours has not: it is held by this reference until the end of this
  // function.
  sessions.connect(session, command.peer, now.engine);
  session->worker = worker_text(request);
  session->build = std::string{request.build};
  subscribe(session, request);
  set_credit(session, request.credit_jobs);
  session->credit_bytes = request.credit_bytes;

  protocol::Registered registered;
  registered.session = number;
  registered.secret = session_secret(number);
  registered.resumed = knows;
  registered.heartbeat_ms = static_cast<std::uint32_t>(limits.heartbeat_ms);
  auto fact = facts.jobs.begin();
  for (const protocol::Outcome& outcome : request.outcomes) {
    registered.outcomes.push_back(if_gone(settle(session, outcome), *fact++, outcome.lease.job));
  }
  std::set<JobId> claimed;
  for (const protocol::LeaseRef& ref : request.held) {
    registered.held.push_back(if_gone(claim(session, ref), *fact++, ref.job));
    if (registered.held.back() == ClaimResult::owned) claimed.insert(ref.job);
  }
  // What the broker thinks it holds and it does not claim never arrived: back, uncounted.
  std::vector<JobId> unclaimed;
  for (const JobId job : session->held) {
    if (!claimed.contains(job)) unclaimed.push_back(job);
  }
  std::sort(unclaimed.begin(), unclaimed.end());
  for (const JobId job : unclaimed) give_back(leases.find(job));
  reply(command, std::move(registered));
}

// What to say of a lease that is not in the table. The index over the finished jobs is made at most once a
// turn.
ClaimResult Engine::State::unknown_lease(const protocol::LeaseRef& ref) {
  if (!finished_indexed) {
    for (const auto& [number, queue] : queues.all()) {
      for (const FinishedEntry& entry : queue.finished) finished_index[entry.job] = entry.lease_no;
    }
    finished_indexed = true;
  }
  const auto entry = finished_index.find(ref.job);
  if (entry == finished_index.end()) return ClaimResult::stale;
  return entry->second == ref.lease_no ? ClaimResult::settled : ClaimResult::gone;
}

ClaimResult Engine::State::claim(Session* session, const protocol::LeaseRef& ref) {
  Leased* leased = leases.find(ref.job);
  if (leased == nullptr) {
    return unknown_lease(ref) == ClaimResult::stale ? ClaimResult::stale : ClaimResult::gone;
  }
  if (!holds(*session, *leased, ref)) return ClaimResult::stale;
  leased->orphaned = false;
  leased->recovered = false;
  std::int64_t list = 0;
  const TimeMs until =
      lease_end(*queues.find(leased->meta.lane.queue), leased->meta, leased->granted_at, &list);
  leases.move(leased, until, list);
  return ClaimResult::owned;
}

ClaimResult Engine::State::settle(Session* session, const protocol::Outcome& outcome) {
  Leased* leased = leases.find(outcome.lease.job);
  if (leased == nullptr) return unknown_lease(outcome.lease);
  if (!holds(*session, *leased, outcome.lease)) return ClaimResult::stale;
  Queue* queue = queues.find(leased->meta.lane.queue);
  touch(queue);
  if (outcome.kind != protocol::OutcomeKind::ack && leased->cancel_requested &&
      !JOBQ_PLANTED(cancel_forgotten)) {
    finish_leased(leased, Exit::cancelled);
    return ClaimResult::settled;
  }
  leased->meta.progress.crashes = 0;  // It came to an end of its own: no crash in a row any more.
  switch (outcome.kind) {
    case protocol::OutcomeKind::ack:
      finish_leased(leased, Exit::acked);
      break;
    case protocol::OutcomeKind::nack:
      fail(leased, AttemptOutcome::failed, outcome.text, outcome.delay);
      break;
    case protocol::OutcomeKind::release:
      ++queue->counters.released_total;
      give_back(leased, Offer::to_others_first);
      break;
    case protocol::OutcomeKind::no_handler:
      ++queue->counters.released_total;
      session->struck.insert(leased->meta.lane.type);
      give_back(leased, Offer::to_others_first);
      break;
    case protocol::OutcomeKind::reject: {
      AttemptRecord record = attempt(leased, AttemptOutcome::rejected, outcome.text);
      ++leased->meta.progress.failures;
      ++queue->counters.failed_total;
      bury(leased, DeadReason::rejected, std::move(record));
      break;
    }
    case protocol::OutcomeKind::snooze:
      settle_snooze(leased, outcome.delay);
      break;
  }
  return ClaimResult::settled;
}

void Engine::State::settle_snooze(Leased* leased, DurationMs delay) {
  JobProgress& progress = leased->meta.progress;
  if (progress.snoozes >= kSnoozesMax) {
    fail(leased, AttemptOutcome::failed, fmt::format("snoozed {} times: counted as a failure", kSnoozesMax),
         {});
    return;
  }
  ++progress.snoozes;
  ++queues.find(leased->meta.lane.queue)->counters.snoozed_total;
  const std::int64_t wait = std::clamp(delay.ms, std::int64_t{1}, limits::kDelayMsMax);
  retry_later(leased, now.engine + DurationMs{wait}, std::nullopt);
}

void Engine::State::outcomes(const Command& command, const protocol::Outcomes& request) {
  Session* session = sessions.of_peer(command.peer);
  if (session == nullptr) {
    return refuse(command, Code::unknown_session, "register first: this connection has no session");
  }
  sessions.heard(session, now.engine);
  set_credit(session, request.credit_jobs);
  protocol::OutcomesReply answer;
  answer.results.reserve(request.outcomes.size());
  for (const protocol::Outcome& outcome : request.outcomes)
    answer.results.push_back(settle(session, outcome));
  reply(command, std::move(answer));
}

void Engine::State::heartbeat(const Command& command, const protocol::Heartbeat& request) {
  Session* session = sessions.of_peer(command.peer);
  if (session == nullptr) {
    return refuse(command, Code::unknown_session, "register first: this connection has no session");
  }
  sessions.heard(session, now.engine);
  set_credit(session, request.credit_jobs);
  protocol::HeartbeatReply answer;
  for (const protocol::LeaseRef& ref : request.extend) {
    const Leased* leased = leases.find(ref.job);
    const TimeMs before = leased != nullptr ? leased->until : TimeMs{};
    const ClaimResult result = claim(session, ref);
    answer.extended.push_back(result);
    Code reason = result == ClaimResult::owned  ? Code::ok
                  : result == ClaimResult::gone ? Code::gone
                                                : Code::stale_lease;
    if (reason == Code::ok && leased->list < 0 && leased->until == before) reason = Code::extend_limit;
    answer.reasons.push_back(reason);
  }
  reply(command, std::move(answer));
  // Pushed when it was asked for, and again with every heartbeat: the push may have been lost.
  if (!session->cancelling.empty()) {
    protocol::CancelRequested push;
    for (const JobId job : session->cancelling) push.leases.push_back({job, leases.find(job)->lease_no});
    out->messages.push_back({command.peer, 0, std::move(push)});
  }
  if (session->asked_to_leave) ask_to_leave(*session);
}

// A worker that an operator drains gets nothing more, whatever it asks for.
void Engine::State::set_credit(Session* session, std::optional<std::uint32_t> credit_jobs) const {
  if (!credit_jobs) return;
  session->credit_jobs = session->draining ? 0 : std::min(*credit_jobs, limits::kCreditJobsMax);
}

void Engine::State::goodbye(const Command& command) {
  Session* session = sessions.of_peer(command.peer);
  if (session != nullptr) {
    const SessionNo number = session->number;
    unsubscribe(session);
    session->subscriptions.clear();
    std::vector<JobId> held = session->held;
    std::sort(held.begin(), held.end());
    for (const JobId job : held) give_back(leases.find(job));
    session->draining = false;  // it has left
    sessions.erase(number);
  }
  reply(command, protocol::GoodbyeReply{});
}

// The connection is gone; what it holds may still be claimed for session_grace.
void Engine::State::lose(Session* session) {
  unsubscribe(session);
  session->subscriptions.clear();
  const SessionNo number = session->number;
  sessions.disconnect(session);
  if (session->held.empty()) return sessions.erase(number);
  for (const JobId job : session->held) {
    Leased* leased = leases.find(job);
    if (leased->orphaned) continue;
    leased->orphaned = true;
    const std::int64_t grace_ms = queues.find(leased->meta.lane.queue)->settings.session_grace_ms;
    // Lists are named by their length; graces get odd names so that they do not mix with leases of the same
    // length.
    constexpr std::int64_t kGraceLists = std::int64_t{1} << 40;
    leases.move(leased, now.engine + DurationMs{grace_ms}, kGraceLists + grace_ms);
  }
}

void Engine::State::peer_lost(PeerId peer) {
  if (Session* session = sessions.of_peer(peer); session != nullptr) lose(session);
}

void Engine::State::send_failed(PeerId peer, const command::SendFailed& failed) {
  for (const protocol::LeaseRef& ref : failed.leases) {
    Leased* leased = leases.find(ref.job);
    if (leased == nullptr || leased->lease_no != ref.lease_no) continue;
    const Session* session = sessions.find(leased->session);
    if (session->connected && session->peer == peer) give_back(leased);
  }
  peer_lost(peer);
}

}  // namespace jobq
