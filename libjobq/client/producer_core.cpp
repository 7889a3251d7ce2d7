#include "libjobq/client/producer_core.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"
#include "libjobq/protocol/enqueue_bytes.hpp"

namespace jobq {

namespace {

constexpr std::size_t kSpareBytesMax = std::size_t{4} << 20;  // of all that is kept for its memory

EnqueueResult to_result(const protocol::EnqueueResult& wire, std::string_view group,
                        std::string_view endpoint) {
  if (wire.outcome == protocol::EnqueueOutcome::refused) {
    return {Outcome::refused,
            Status(wire.code, refusal_text(wire.code, protocol::queue_of_group(group), endpoint)),
            std::chrono::milliseconds{wire.retry_after_ms}};
  }
  Enqueued enqueued;
  enqueued.id = to_text(wire.id);
  enqueued.duplicate = wire.outcome == protocol::EnqueueOutcome::duplicate;
  enqueued.state = static_cast<Enqueued::State>(wire.state);
  enqueued.body_differs = wire.body_differs;
  return enqueued;
}

}  // namespace

void ProducerCore::submit(const SubmittedGroup& group) {
  JOBQ_CHECK(!group.jobs.empty());
  EncodedGroups encoded;
  encoded.begin(group.queue, group.jobs.size(), 0);
  for (const OwnedJob& job : group.jobs) encoded.add(job.view());
  encoded.end(group.token, group.deadline, group.timeout);
  submit(&encoded);
}

// Joins what comes to what waits, as far as that fits into one message.
void ProducerCore::submit(EncodedGroups* groups) {
  if (groups->empty()) return;
  for (const Group& group : groups->groups()) next_expiry_ = earlier(next_expiry_, group.deadline);
  const std::size_t count = groups->groups().size();
  open_groups_ += count;
  waiting_groups_ += count;
  waiting_bytes_ += groups->bytes();
  if (!waiting_.empty()) {
    EncodedGroups& last = waiting_.back().groups;
    const bool small =
        last.jobs() + groups->jobs() <= kPackJobs && last.bytes() + groups->bytes() <= kPackBytes;
    if (small) {
      last.append(*groups, 0, count, 0);
      groups->clear();
      return;
    }
  }
  waiting_.push_back({std::move(*groups), 0, 0});
  *groups = fresh();
}

void ProducerCore::keep(EncodedGroups groups) {
  groups.clear();
  if (spare_bytes_ + groups.capacity() > kSpareBytesMax || spare_.size() >= in_flight_max_) return;
  spare_bytes_ += groups.capacity();
  spare_.push_back(std::move(groups));
}

EncodedGroups ProducerCore::fresh() {
  if (spare_.empty()) return {};
  EncodedGroups groups = std::move(spare_.back());
  spare_.pop_back();
  spare_bytes_ -= groups.capacity();
  return groups;
}

void ProducerCore::welcomed() {
  const bool other_store =
      incarnation_ != protocol::Incarnation{} && incarnation_ != link_->broker().incarnation;
  incarnation_ = link_->broker().incarnation;
  if (other_store) {
    established_ = false;
    const EnqueueResult unknown{
        Outcome::unknown,
        Status(Code::unknown_producer,
               fmt::format("the store of the broker at {} was replaced while this job was on its way: "
                           "whether it is stored is unknown; enqueue it again with a unique key to be "
                           "sure of one",
                           link_->identity().endpoint))};
    while (!open_.empty()) complete_all(&open_.front(), unknown);
  }
  for (Request& request : open_) {
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
  waiting_groups_ = waiting_bytes_ = 0;
  for (Waiting& waiting : std::exchange(waiting_, {})) {
    for (std::size_t i = waiting.first; i < waiting.groups.groups().size(); ++i) {
      Group& group = waiting.groups.groups()[i];
      complete(&group, {group.jobs, EnqueueResult{Outcome::refused, status}});
    }
  }
}

bool ProducerCore::receive(const protocol::ReplyMessage& message, TimeMs now) {
  if (const auto* reply = std::get_if<protocol::Enqueued>(&message.body)) {
    on_enqueued(*reply);
    return true;
  }
  const auto* error = std::get_if<protocol::Error>(&message.body);
  if (error == nullptr) return false;
  const auto request = std::find_if(open_.begin(), open_.end(), [&](const Request& open) {
    return message.request_id != 0 && open.is_open && open.request_id == message.request_id;
  });
  if (request == open_.end()) return false;
  on_error(*error, &*request, now);
  return true;
}

ProducerCore::Request* ProducerCore::open_request(std::uint64_t sequence) {
  if (sequence >= next_sequence_ || next_sequence_ - sequence > open_.size()) return nullptr;
  Request& request = open_[open_.size() - (next_sequence_ - sequence)];
  return request.is_open ? &request : nullptr;
}

void ProducerCore::on_enqueued(const protocol::Enqueued& reply) {
  Request* request = open_request(reply.sequence);
  if (request == nullptr) return;  // Answered before, or given up: a resend was answered twice.
  EncodedGroups& content = request->content;
  if (content.jobs() != reply.results.size()) {
    const std::string text =
        fmt::format("the broker answered {} results for {} jobs", reply.results.size(), content.jobs());
    return complete_all(request, {Outcome::unknown, Status(Code::bad_message, text)});
  }
  const auto* result = reply.results.data();
  const std::string& endpoint = link_->identity().endpoint;
  std::size_t offset = 0;
  for (Group& group : content.groups()) {
    const std::string_view bytes = content.group_at(offset);
    offset += group.bytes;
    for (std::uint32_t i = 0; i < group.jobs; ++i)
      established_ = established_ || result[i].outcome != protocol::EnqueueOutcome::refused;
    if (group.done) {
      result += group.jobs;
    } else if (group.jobs == 1) {
      complete(&group, Results(to_result(*result++, bytes, endpoint)));
    } else {
      std::vector<EnqueueResult> results;
      results.reserve(group.jobs);
      for (std::uint32_t i = 0; i < group.jobs; ++i) results.push_back(to_result(*result++, bytes, endpoint));
      complete(&group, Results(std::move(results)));
    }
  }
  close(request);
}

void ProducerCore::on_error(const protocol::Error& error, Request* request, TimeMs now) {
  switch (error.code) {
    case Code::shutting_down:
    case Code::too_many_open:
      request->request_id = 0;
      request->hold_until = now + DurationMs{std::max<std::int64_t>(error.retry_after_ms, 100)};
      send_again_at(request->hold_until);
      return;
    case Code::not_greeted:
      link_->reconnect();
      return;
    case Code::unknown_producer:
      return complete_all(request, {Outcome::unknown, Status(error.code, error.text)});
    default:
      // A first sending that is refused as a whole has stored nothing. A later one may follow one that did.
      complete_all(request,
                   {request->sendings == 1 || JOBQ_PLANTED(unknown_told_as_refused) ? Outcome::refused
                                                                                    : Outcome::unknown,
                    Status(error.code, error.text), std::chrono::milliseconds{error.retry_after_ms}});
  }
}

void ProducerCore::complete(Group* group, Results results) {
  if (group->done) return;  // Its deadline was earlier.
  group->done = true;
  completions_.push_back({group->token, std::move(results)});
  if (--open_groups_ == 0) next_expiry_.reset();
}

void ProducerCore::complete_all(Request* request, const EnqueueResult& result) {
  for (Group& group : request->content.groups()) complete(&group, {group.jobs, result});
  close(request);
}

void ProducerCore::close(Request* request) {
  request->is_open = false;
  --unanswered_;
  keep(std::exchange(request->content, {}));
  while (!open_.empty() && !open_.front().is_open) open_.pop_front();
}

void ProducerCore::close() {
  const EnqueueResult sent{Outcome::unknown,
                           Status(Code::closed,
                                  "the client was closed before the broker answered: whether the "
                                  "job is stored is unknown")};
  while (!open_.empty()) complete_all(&open_.front(), sent);
  fail_waiting(Status(Code::closed, "the client was closed before the job was sent: nothing was stored"));
}

void ProducerCore::tick(TimeMs now) {
  expire(now);
  if (link_->up()) pump(now);
}

// Looks at everything when the earliest deadline that there was since the last look is reached: mostly that job is
// long done, and there is nothing to be found for a while.
void ProducerCore::expire(TimeMs now) {
  if (!next_expiry_ || *next_expiry_ > now) return;
  next_expiry_.reset();
  for (Request& request : open_) {
    if (request.is_open) expire_in(&request.content, 0, true, now);
  }
  for (std::uint64_t sequence = oldest_open(); sequence < next_sequence_; ++sequence) {
    Request* request = open_request(sequence);
    if (request == nullptr) continue;
    const auto& groups = request->content.groups();
    if (std::ranges::all_of(groups, &Group::done)) close(request);
  }
  for (Waiting& waiting : waiting_) expire_in(&waiting.groups, waiting.first, false, now);
}

void ProducerCore::expire_in(EncodedGroups* groups, std::size_t first, bool sent, TimeMs now) {
  for (std::size_t i = first; i < groups->groups().size(); ++i) {
    Group& group = groups->groups()[i];
    if (group.done) continue;
    if (group.deadline > now) {
      next_expiry_ = earlier(next_expiry_, group.deadline);
      continue;
    }
    if (!sent) leave_waiting(group);
    complete(&group, {group.jobs, expired_result(sent, group.timeout)});
  }
}

void ProducerCore::pump(TimeMs now) {
  resend(now);
  while (waiting_groups_ > 0 && unanswered_ < in_flight_max_ && open_.size() < kSequencesMax) {
    const bool full = waiting_groups_ >= pack_jobs_ || waiting_bytes_ >= kPackBytes;
    if (unanswered_ >= eager_in_flight_ && !full) return;
    pack(now);
  }
}

void ProducerCore::resend(TimeMs now) {
  if (!next_send_at_ || *next_send_at_ > now) return;
  next_send_at_.reset();
  std::uint64_t sequence = oldest_open();
  for (Request& request : open_) {
    const std::uint64_t its = sequence++;
    if (!request.is_open) continue;
    if (request.hold_until > now) {
      send_again_at(request.hold_until);
    } else if (request.request_id == 0 || request.send_again_at <= now) {
      send(&request, its, now);
    } else {
      send_again_at(request.send_again_at);
    }
  }
}

// Moves what waits into one request, up to a full message.
void ProducerCore::pack(TimeMs now) {
  EncodedGroups message = fresh();
  if (!take_message(&message)) return keep(std::move(message));
  Request& request = open_.emplace_back();
  request.content = std::move(message);
  ++unanswered_;
  send(&request, next_sequence_++, now);
}

// False when everything that waited was too large for any message.
bool ProducerCore::take_message(EncodedGroups* message) {
  const std::size_t bytes_max = message_bytes_max();
  const std::uint32_t told = link_->broker().jobs_per_message_max;
  const std::size_t jobs_max = told == 0 ? limits::kJobsPerMessageMax : told;
  const std::size_t few = std::min(jobs_max, pack_jobs_);
  const std::size_t small = std::min(bytes_max, kPackBytes);
  while (!waiting_.empty()) {
    Waiting& from = waiting_.front();
    std::vector<Group>& groups = from.groups.groups();
    if (from.first == groups.size()) {
      keep(std::move(from.groups));
      waiting_.pop_front();
      continue;
    }
    Group& next = groups[from.first];
    if (next.done || next.bytes > bytes_max || next.jobs > jobs_max) {
      if (!next.done) refuse_too_large(&next);
      from.offset += next.bytes;
      ++from.first;
      continue;
    }
    if (!message->empty() && (message->jobs() + next.jobs > few || message->bytes() + next.bytes > small)) {
      break;
    }
    const bool whole = message->empty() && from.first == 0 && (groups.size() == 1 || pack_jobs_ > 1) &&
                       (groups.size() == 1 || (from.groups.jobs() <= few && from.groups.bytes() <= small)) &&
                       std::ranges::none_of(groups, &Group::done);
    if (whole) {
      for (const Group& group : groups) leave_waiting(group);
      std::swap(*message, from.groups);
      from.first = from.groups.groups().size();
      continue;
    }
    leave_waiting(next);
    from.offset += message->append(from.groups, from.first, 1, from.offset);
    ++from.first;
  }
  return !message->empty();
}

void ProducerCore::leave_waiting(const Group& group) {
  --waiting_groups_;
  waiting_bytes_ -= group.bytes;
}

void ProducerCore::refuse_too_large(Group* group) {
  const Code code = group->jobs == 1 ? Code::body_too_large : Code::too_large;
  const std::string text = fmt::format(
      "{} job(s) with {} bytes do not fit into one message of the broker at {} (at most {} bytes and {} "
      "jobs): nothing was stored",
      group->jobs, group->bytes, link_->identity().endpoint, message_bytes_max(),
      link_->broker().jobs_per_message_max);
  leave_waiting(*group);
  complete(group, {group->jobs, EnqueueResult{Outcome::refused, Status(code, text)}});
}

void ProducerCore::send(Request* request, std::uint64_t sequence, TimeMs now) {
  protocol::Enqueue message;
  message.producer = id_;
  message.sequence = sequence;
  message.lowest_open = established_ ? oldest_open() : 1;
  message.resend = request->sendings > 0 && !JOBQ_PLANTED(resend_not_marked);
  request->sendings++;
  request->hold_until = {};
  const std::uint32_t doublings = std::min(request->sendings - 1, 4U);
  request->send_again_at = now + DurationMs{kResendAfter.ms << doublings};
  send_again_at(request->send_again_at);
  request->request_id = link_->next_request_id();
  char head[protocol::kEnqueueHeadMost];
  const std::size_t size =
      protocol::write_enqueue_head(request->request_id, message, request->content.groups().size(), head);
  link_->send(request->content.frame({head, size}));
}

std::size_t ProducerCore::message_bytes_max() const {
  constexpr std::size_t kEnvelope = 1024;
  const std::size_t told = link_->broker().message_bytes_max;
  return (told <= kEnvelope ? limits::kMessageBytesDefault : told) - kEnvelope;
}

ProducerCore::Needs ProducerCore::needs() const {
  Needs needs;
  const bool up = link_->up() && open_.size() < kSequencesMax;
  needs.at_once = up && unanswered_ < eager_in_flight_;
  needs.idle = needs.at_once && unanswered_ < kEagerInFlight && waiting_groups_ == 0;
  if (!up || unanswered_ >= in_flight_max_) return needs;
  needs.groups = pack_jobs_ - std::min(pack_jobs_, waiting_groups_);
  needs.bytes = kPackBytes - std::min(kPackBytes, waiting_bytes_);
  return needs;
}

std::optional<TimeMs> ProducerCore::next_deadline() const {
  return link_->up() && unanswered_ > 0 ? earlier(next_expiry_, next_send_at_) : next_expiry_;
}

EnqueueResult ProducerCore::expired_result(bool sent, DurationMs waited) const {
  if (!sent) return {Outcome::refused, Status(Code::unreachable, unreachable_text(*link_, waited))};
  return {Outcome::unknown,
          Status(Code::timed_out,
                 fmt::format(
                     "sent, but the broker at {} did not answer within {} ms: whether the job is stored is "
                     "unknown; enqueue it again with a unique key to be sure of one",
                     link_->identity().endpoint, waited.ms))};
}

}  // namespace jobq
