#include "libjobq/client/producer_core.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq {

namespace {

constexpr auto kLater = [](const auto& a, const auto& b) { return a > b; };

EnqueueResult to_result(const protocol::EnqueueResult& wire, std::string_view queue,
                        std::string_view endpoint) {
  if (wire.outcome == protocol::EnqueueOutcome::refused) {
    return {Outcome::refused, Status(wire.code, refusal_text(wire.code, queue, endpoint)),
            std::chrono::milliseconds{wire.retry_after_ms}};
  }
  Enqueued enqueued;
  enqueued.id = to_text(wire.id);
  enqueued.duplicate = wire.outcome == protocol::EnqueueOutcome::duplicate;
  enqueued.state = static_cast<Enqueued::State>(wire.state);
  enqueued.body_differs = wire.body_differs;
  return enqueued;
}

std::size_t group_bytes(const SubmittedGroup& group) {
  std::size_t bytes = group.queue.size() + 32;
  for (const OwnedJob& job : group.jobs) bytes += job.wire_bytes();
  return bytes;
}

}  // namespace

void ProducerCore::submit(SubmittedGroup group) {
  JOBQ_CHECK(!group.jobs.empty());
  const std::uint64_t token = group.token;
  deadlines_.emplace_back(group.deadline, token);
  std::push_heap(deadlines_.begin(), deadlines_.end(), kLater);
  waiting_.push_back(token);
  waiting_bytes_ += group_bytes(group);
  const bool fresh = groups_.emplace(token, Group{std::move(group), 0}).second;
  JOBQ_CHECK(fresh, "token {}", token);
}

void ProducerCore::welcomed() {
  const bool other_store =
      incarnation_ != protocol::Incarnation{} && incarnation_ != link_->broker().incarnation;
  incarnation_ = link_->broker().incarnation;
  if (other_store) {
    established_ = false;
    while (!open_.empty()) {
      complete_all(
          open_.begin(),
          {Outcome::unknown,
           Status(Code::unknown_producer,
                  fmt::format("the store of the broker at {} was replaced while this job was on its way: "
                              "whether it is stored is unknown; enqueue it again with a unique key to be "
                              "sure of one",
                              link_->identity().endpoint))});
    }
  }
  for (auto& [sequence, request] : open_) {
    request.request_id = 0;
    request.hold_until = {};
  }
  send_again_at({});
}

void ProducerCore::refused() {
  if (link_->refusal().code() == Code::shutting_down) return;  // It, or the next one, will be back.
  fail_waiting(link_->refusal());
}

void ProducerCore::fail_waiting(const Status& status) {
  waiting_bytes_ = 0;
  for (const std::uint64_t token : std::exchange(waiting_, {})) {
    const auto group = groups_.find(token);
    if (group == groups_.end()) continue;
    complete(token, {group->second.data.jobs.size(), EnqueueResult{Outcome::refused, status}});
  }
}

bool ProducerCore::receive(const protocol::ReplyMessage& message, TimeMs now) {
  if (const auto* reply = std::get_if<protocol::Enqueued>(&message.body)) {
    on_enqueued(*reply);
    return true;
  }
  const auto* error = std::get_if<protocol::Error>(&message.body);
  if (error == nullptr) return false;
  const auto request = std::find_if(open_.begin(), open_.end(), [&](const auto& entry) {
    return message.request_id != 0 && entry.second.request_id == message.request_id;
  });
  if (request == open_.end()) return false;
  on_error(*error, request, now);
  return true;
}

void ProducerCore::on_enqueued(const protocol::Enqueued& reply) {
  const auto found = open_.find(reply.sequence);
  if (found == open_.end()) return;  // Answered before, or given up: a resend was answered twice.
  const Request& request = found->second;
  const std::size_t jobs = request.jobs;
  if (jobs != reply.results.size()) {
    complete_all(found, {Outcome::unknown,
                         Status(Code::bad_message, fmt::format("the broker answered {} results for {} jobs",
                                                               reply.results.size(), jobs))});
    return;
  }
  std::size_t next = 0;
  completions_.reserve(completions_.size() + request.groups.size());
  for (const SubmittedGroup& group : request.groups) {
    std::vector<EnqueueResult> results;
    results.reserve(group.jobs.size());
    for (std::size_t i = 0; i < group.jobs.size(); ++i) {
      const protocol::EnqueueResult& result = reply.results[next++];
      if (result.outcome != protocol::EnqueueOutcome::refused) established_ = true;
      results.push_back(to_result(result, group.queue, link_->identity().endpoint));
    }
    complete(group.token, std::move(results));
  }
  open_.erase(found);
}

void ProducerCore::on_error(const protocol::Error& error, Requests::iterator found, TimeMs now) {
  Request& request = found->second;
  switch (error.code) {
    case Code::shutting_down:
    case Code::too_many_open:
      request.request_id = 0;
      request.hold_until = now + DurationMs{std::max<std::int64_t>(error.retry_after_ms, 100)};
      send_again_at(request.hold_until);
      return;
    case Code::not_greeted:
      link_->reconnect();
      return;
    case Code::unknown_producer:
      return complete_all(found, {Outcome::unknown, Status(error.code, error.text)});
    default:
      // A first sending that is refused as a whole has stored nothing. A later one may follow one that did.
      complete_all(found, {request.sendings == 1 || JOBQ_PLANTED(unknown_told_as_refused) ? Outcome::refused
                                                                                          : Outcome::unknown,
                           Status(error.code, error.text), std::chrono::milliseconds{error.retry_after_ms}});
  }
}

void ProducerCore::complete(std::uint64_t token, std::vector<EnqueueResult> results) {
  if (groups_.erase(token) == 0) return;  // Its deadline was earlier.
  completions_.push_back({token, std::move(results)});
}

void ProducerCore::complete_all(Requests::iterator request, const EnqueueResult& result) {
  for (const SubmittedGroup& group : request->second.groups)
    complete(group.token, {group.jobs.size(), result});
  open_.erase(request);
}

void ProducerCore::close() {
  const EnqueueResult sent{Outcome::unknown,
                           Status(Code::closed,
                                  "the client was closed before the broker answered: whether the "
                                  "job is stored is unknown")};
  while (!open_.empty()) complete_all(open_.begin(), sent);
  fail_waiting(Status(Code::closed, "the client was closed before the job was sent: nothing was stored"));
}

void ProducerCore::tick(TimeMs now) {
  expire(now);
  if (link_->up()) pump(now);
}

void ProducerCore::expire(TimeMs now) {
  while (!deadlines_.empty() && deadlines_.front().first <= now) {
    const std::uint64_t token = deadlines_.front().second;
    std::pop_heap(deadlines_.begin(), deadlines_.end(), kLater);
    deadlines_.pop_back();
    const auto found = groups_.find(token);
    if (found == groups_.end()) continue;
    const Group& group = found->second;
    const EnqueueResult result = expired_result(group);
    if (group.sequence == 0) {
      complete(token, {group.data.jobs.size(), result});
      continue;
    }
    const auto request = open_.find(group.sequence);
    JOBQ_CHECK(request != open_.end(), "sequence {}", group.sequence);
    for (const SubmittedGroup& sent : request->second.groups) {
      if (sent.token == token) complete(token, {sent.jobs.size(), result});
    }
    if (--request->second.unanswered == 0) open_.erase(request);
  }
  if (deadlines_.size() > 1024 && deadlines_.size() > 2 * groups_.size()) forget_done_deadlines();
}

void ProducerCore::forget_done_deadlines() {
  std::erase_if(deadlines_, [this](const auto& entry) { return !groups_.contains(entry.second); });
  std::make_heap(deadlines_.begin(), deadlines_.end(), kLater);
}

void ProducerCore::pump(TimeMs now) {
  resend(now);
  while (!waiting_.empty() && open_.size() < in_flight_max_) {
    const bool full = waiting_.size() >= pack_jobs_ || waiting_bytes_ >= kPackBytes;
    if (open_.size() >= eager_in_flight_ && !full) return;
    pack(now);
  }
}

void ProducerCore::resend(TimeMs now) {
  if (!next_send_at_ || *next_send_at_ > now) return;
  next_send_at_.reset();
  for (auto& [sequence, request] : open_) {
    if (request.hold_until > now) {
      send_again_at(request.hold_until);
    } else if (request.request_id == 0 || request.send_again_at <= now) {
      send(sequence, &request, now);
    } else {
      send_again_at(request.send_again_at);
    }
  }
}

// Moves what waits into one request, up to a full message.
void ProducerCore::pack(TimeMs now) {
  const std::size_t bytes_max = message_bytes_max();
  const std::uint32_t told = link_->broker().jobs_per_message_max;
  const std::size_t jobs_max = told == 0 ? limits::kJobsPerMessageMax : told;
  Request request;
  request.groups.reserve(std::min(waiting_.size(), pack_jobs_));
  std::size_t& jobs = request.jobs;
  std::size_t& bytes = request.bytes;
  while (!waiting_.empty()) {
    const auto found = groups_.find(waiting_.front());
    if (found == groups_.end()) {
      waiting_.pop_front();
      continue;
    }
    SubmittedGroup& group = found->second.data;
    const std::size_t its_bytes = group_bytes(group);
    const bool alone = request.groups.empty();
    if (!alone && (jobs + group.jobs.size() > std::min(jobs_max, pack_jobs_) ||
                   bytes + its_bytes > std::min(bytes_max, kPackBytes))) {
      break;
    }
    waiting_.pop_front();
    waiting_bytes_ -= std::min(waiting_bytes_, its_bytes);
    if (its_bytes > bytes_max || group.jobs.size() > jobs_max) {
      refuse_too_large(group, its_bytes);
      continue;
    }
    jobs += group.jobs.size();
    bytes += its_bytes;
    found->second.sequence = next_sequence_;
    request.groups.push_back(std::move(group));
    found->second.data.timeout = request.groups.back().timeout;
  }
  if (waiting_.empty()) waiting_bytes_ = 0;
  if (request.groups.empty()) return;
  request.unanswered = request.groups.size();
  const std::uint64_t sequence = next_sequence_++;
  send(sequence, &open_.emplace(sequence, std::move(request)).first->second, now);
}

void ProducerCore::refuse_too_large(const SubmittedGroup& group, std::size_t bytes) {
  const Code code = group.jobs.size() == 1 ? Code::body_too_large : Code::too_large;
  const std::string text = fmt::format(
      "{} job(s) with {} bytes do not fit into one message of the broker at {} (at most {} bytes and {} "
      "jobs): nothing was stored",
      group.jobs.size(), bytes, link_->identity().endpoint, message_bytes_max(),
      link_->broker().jobs_per_message_max);
  complete(group.token, {group.jobs.size(), EnqueueResult{Outcome::refused, Status(code, text)}});
}

void ProducerCore::send(std::uint64_t sequence, Request* request, TimeMs now) {
  protocol::Enqueue message;
  message.producer = id_;
  message.sequence = sequence;
  message.lowest_open = established_ ? open_.begin()->first : 1;
  message.resend = request->sendings > 0 && !JOBQ_PLANTED(resend_not_marked);
  message.groups.reserve(request->groups.size());
  message.jobs.reserve(request->jobs);
  for (const SubmittedGroup& group : request->groups) {
    const auto first = static_cast<std::uint32_t>(message.jobs.size());
    message.groups.push_back({group.queue, first, static_cast<std::uint32_t>(group.jobs.size())});
    for (const OwnedJob& job : group.jobs) {
      message.jobs.push_back({job.type, job.body, job.headers, job.priority, job.delay, job.run_at,
                              job.expires_in, job.max_attempts, job.max_run_ms, job.unique_key,
                              job.unique_for});
    }
  }
  request->sendings++;
  request->hold_until = {};
  const std::uint32_t doublings = std::min(request->sendings - 1, 4U);
  request->send_again_at = now + DurationMs{kResendAfter.ms << doublings};
  send_again_at(request->send_again_at);
  request->request_id = link_->send(std::move(message), request->bytes);
}

std::size_t ProducerCore::message_bytes_max() const {
  constexpr std::size_t kEnvelope = 1024;
  const std::size_t told = link_->broker().message_bytes_max;
  return (told <= kEnvelope ? limits::kMessageBytesDefault : told) - kEnvelope;
}

std::optional<TimeMs> ProducerCore::next_deadline() const {
  std::optional<TimeMs> next;
  if (!deadlines_.empty()) next = deadlines_.front().first;
  return link_->up() && !open_.empty() ? earlier(next, next_send_at_) : next;
}

EnqueueResult ProducerCore::expired_result(const Group& group) const {
  const DurationMs waited = group.data.timeout;
  if (group.sequence == 0)
    return {Outcome::refused, Status(Code::unreachable, unreachable_text(*link_, waited))};
  return {Outcome::unknown,
          Status(Code::timed_out,
                 fmt::format(
                     "sent, but the broker at {} did not answer within {} ms: whether the job is stored is "
                     "unknown; enqueue it again with a unique key to be sure of one",
                     link_->identity().endpoint, waited.ms))};
}

}  // namespace jobq
