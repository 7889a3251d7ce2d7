#include "tests/sim/broker_transport.hpp"

#include <algorithm>

#include "libjobq/protocol/codec.hpp"

namespace jobq::sim {
namespace {

constexpr DurationMs kLongest{60'000};
constexpr std::uint64_t kTurnsPerMs = 20;  // more than that takes time
constexpr std::uint64_t kRates = 100'000;

}  // namespace

void BrokerTransport::pass_until(TimeMs time) {
  while (parts_.timeline->has_until(time)) parts_.step();
  parts_.timeline->go_to(time);
}

void BrokerTransport::wait(std::optional<DurationMs> span) {
  for (Network::Incoming& taken : taken_) taken.bytes.assign(taken.bytes.size(), '\xEE');
  taken_.clear();
  const TimeMs now = parts_.timeline->now();
  turns_now_ = now == last_turn_ ? turns_now_ + 1 : 0;
  last_turn_ = now;
  if (turns_now_ >= kTurnsPerMs) pass_until(now + DurationMs{1});
  const TimeMs until = now + std::min(span.value_or(kLongest), kLongest);
  while (!parts_.network->has_incoming() && parts_.timeline->has_until(until)) parts_.step();
  if (!parts_.network->has_incoming()) parts_.timeline->go_to(until);
  if (stalled_until_ > parts_.timeline->now()) pass_until(stalled_until_);
  const bool idle = !parts_.network->has_incoming() && span && span->ms == 0;
  idle_turns_ = idle ? idle_turns_ + 1 : 0;
  idle_turns_max_ = std::max(idle_turns_max_, idle_turns_);
}

void BrokerTransport::wait_on(DurationMs span) {
  const TimeMs until = parts_.timeline->now() + span;
  while (!parts_.network->has_incoming() && parts_.timeline->has_until(until)) parts_.step();
  if (!parts_.network->has_incoming()) parts_.timeline->go_to(until);
}

bool BrokerTransport::next(TransportEvent* event) {
  std::optional<Network::Incoming> incoming = parts_.network->next_incoming();
  if (!incoming) return false;
  taken_.push_back(*std::move(incoming));
  const Network::Incoming& taken = taken_.back();
  parts_.chronicle->mix_in(taken.peer.value);
  parts_.chronicle->mix_in(taken.bytes.size());
  if (taken.kind == TransportEventKind::message) note_outcomes(taken);
  *event = {taken.kind, taken.peer, taken.bytes};
  return true;
}

bool BrokerTransport::send(PeerId to, std::string_view message) {
  if (!parts_.faults->healed && parts_.mix->crash_at_send > 0 &&
      parts_.prng->below(kRates) < parts_.mix->crash_at_send) {
    ++parts_.faults->crashes;
    throw BrokerKilled{};
  }
  const Result<protocol::ReplyMessage> decoded = protocol::decode_reply(message, {limits::kMessageBytesMax});
  JOBQ_CHECK(decoded.ok(), "the broker sends what is no message: {}", decoded.status().text());
  const bool sent = parts_.network->send_to(to, message);
  mix_in(message, *decoded);
  if (sent) say(to, *decoded);
  return sent;
}

// To the last byte, but for the number of the broker's process, which the answer to `stats` tells.
void BrokerTransport::mix_in(std::string_view message, const protocol::ReplyMessage& decoded) {
  const auto* reply = std::get_if<protocol::AdminReply>(&decoded.body);
  if (reply == nullptr) return parts_.chronicle->mix_in(message);
  constexpr std::string_view kPid = "\xA3pid";
  const std::string_view document = reply->document;
  const std::size_t pid = document.find(kPid);
  parts_.chronicle->mix_in(decoded.request_id);
  parts_.chronicle->mix_in(document.substr(0, pid));
  if (pid == std::string_view::npos) return;
  std::size_t after = pid + kPid.size();
  const auto type = static_cast<std::uint8_t>(document.at(after++));
  if (type >= 0xCC && type <= 0xCF) after += std::size_t{1} << (type - 0xCC);  // uint 8, 16, 32, 64
  parts_.chronicle->mix_in(document.substr(after));
}

// The answers to outcomes name no job: the questions do.
void BrokerTransport::note_outcomes(const Network::Incoming& incoming) {
  std::uint64_t request_id = 0;
  const auto request = protocol::decode_request(incoming.bytes, {limits::kMessageBytesMax}, &request_id);
  if (!request.ok()) return;
  const std::vector<protocol::Outcome>* outcomes = nullptr;
  if (const auto* sent = std::get_if<protocol::Outcomes>(&request->body)) outcomes = &sent->outcomes;
  if (const auto* registers = std::get_if<protocol::Register>(&request->body))
    outcomes = &registers->outcomes;
  if (outcomes == nullptr) return;
  auto& leases = asked_[{incoming.peer.value, request_id}];
  for (const protocol::Outcome& outcome : *outcomes) leases.push_back(outcome.lease);
}

// What nobody may hear before it is durable (I15).
void BrokerTransport::say(PeerId to, const protocol::ReplyMessage& message) {
  const auto said = [this](JobId job, const char* state, LeaseNo lease_no) {
    faults::Event event = happened("said", faults::EventType::ok);
    event.job = to_text(job);
    event.state = state;
    event.token = lease_no;
    parts_.chronicle->write("broker", std::move(event));
  };
  if (const auto* enqueued = std::get_if<protocol::Enqueued>(&message.body)) {
    for (const protocol::EnqueueResult& result : enqueued->results)
      if (result.outcome == protocol::EnqueueOutcome::created) said(result.id, "created", 0);
  } else if (const auto* deliver = std::get_if<protocol::Deliver>(&message.body)) {
    for (const protocol::Delivery& delivery : deliver->jobs)
      said(delivery.lease.job, "delivered", delivery.lease.lease_no);
  }
  const auto settled = [&](const std::vector<protocol::ClaimResult>& results) {
    const auto asked = asked_.extract({to.value, message.request_id});
    if (asked.empty()) return;
    for (std::size_t i = 0; i < std::min(results.size(), asked.mapped().size()); ++i)
      if (results[i] == protocol::ClaimResult::settled)
        said(asked.mapped()[i].job, "settled", asked.mapped()[i].lease_no);
  };
  if (const auto* reply = std::get_if<protocol::OutcomesReply>(&message.body)) settled(reply->results);
  if (const auto* registered = std::get_if<protocol::Registered>(&message.body))
    settled(registered->outcomes);
}

}  // namespace jobq::sim
