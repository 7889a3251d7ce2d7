#include <fmt/format.h>

#include "libjobq/protocol/codec.hpp"
#include "libjobq/protocol/field_readers.hpp"
#include "libjobq/protocol/reader.hpp"

namespace jobq::protocol {
namespace {

constexpr std::uint64_t kLongText = limits::kMessageBytesMax;  // no limit of its own: the message has one

Welcome read_welcome(Reader* reader) {
  Welcome reply;
  reply.version = reader->u32("version");
  reply.features = reader->u64("features");
  reply.incarnation = reader->id16("incarnation");
  reply.broker = reader->text("broker", limits::kNameBytesMax);
  reply.body_bytes_max = reader->u32("body_bytes_max");
  reply.message_bytes_max = reader->u32("message_bytes_max");
  reply.jobs_per_message_max = reader->u32("jobs_per_message_max");
  reply.heartbeat_ms = reader->u32("heartbeat_ms");
  return reply;
}

std::vector<ClaimResult> read_claims(Reader* reader, const char* field) {
  std::vector<ClaimResult> claims;
  const std::uint32_t count = reader->array(field, 0, limits::kJobsPerMessageMax);
  claims.reserve(count);
  for (std::uint32_t i = 0; i < count && reader->ok(); ++i) {
    claims.push_back(
        static_cast<ClaimResult>(reader->bounded(field, static_cast<std::uint64_t>(ClaimResult::gone))));
  }
  return claims;
}

Registered read_registered(Reader* reader) {
  Registered reply;
  reply.session.value = reader->u64("session");
  reply.secret = reader->id16("secret");
  reply.resumed = reader->boolean("resumed");
  reply.heartbeat_ms = reader->u32("heartbeat_ms");
  reply.held = read_claims(reader, "held");
  reply.outcomes = read_claims(reader, "outcomes");
  return reply;
}

JobState read_state(Reader* reader) {
  return static_cast<JobState>(reader->bounded("result: state", static_cast<std::uint64_t>(JobState::gone)));
}

// [0, id, state] created, [1, id, state, body_differs] duplicate, [2, code, retry_after_ms] refused
EnqueueResult read_result(Reader* reader) {
  EnqueueResult result;
  std::uint32_t left = reader->array("result", 3, UINT32_MAX);
  if (!reader->ok()) return result;
  left -= 3;
  result.outcome = static_cast<EnqueueOutcome>(
      reader->bounded("result: outcome", static_cast<std::uint64_t>(EnqueueOutcome::refused)));
  if (result.outcome == EnqueueOutcome::refused) {
    result.code = static_cast<Code>(reader->u16("result: code"));
    result.retry_after_ms = reader->u32("result: retry_after_ms");
  } else {
    result.id = read_job_id(reader, "result: id");
    result.state = read_state(reader);
    if (result.outcome == EnqueueOutcome::duplicate && present(reader, &left)) {
      result.body_differs = reader->boolean("result: body_differs");
    }
  }
  reader->skip_many("result", left);
  return result;
}

Enqueued read_enqueued(Reader* reader) {
  Enqueued reply;
  reply.sequence = reader->u64("sequence");
  const std::uint32_t count = reader->array("results", 0, limits::kJobsPerMessageMax);
  reply.results.reserve(count);
  for (std::uint32_t i = 0; i < count && reader->ok(); ++i) reply.results.push_back(read_result(reader));
  return reply;
}

HeartbeatReply read_heartbeat_reply(Reader* reader) {
  HeartbeatReply reply;
  reply.extended = read_claims(reader, "extended");
  const std::uint32_t count = reader->array("reasons", 0, limits::kJobsPerMessageMax);
  reply.reasons.reserve(count);
  for (std::uint32_t i = 0; i < count && reader->ok(); ++i) {
    reply.reasons.push_back(static_cast<Code>(reader->u16("reasons")));
  }
  return reply;
}

AdminReply read_admin_reply(Reader* reader) {
  if (reader->peek() != Reader::Kind::map) reader->fail(Code::bad_message, "document", "must be a map");
  return AdminReply{std::string(reader->skip("document"))};
}

Error read_error(Reader* reader) {
  Error reply;
  reply.code = static_cast<Code>(reader->u16("code"));
  reply.text = std::string(reader->text("text", kLongText));
  reply.retry_after_ms = reader->u32("retry_after_ms");
  return reply;
}

// [job, lease_no, attempt, max_attempts, queue, type, headers, body, priority, enqueued_at, lease_ms,
// max_run_ms]
Delivery read_delivery(Reader* reader) {
  constexpr std::uint32_t kElements = 12;
  Delivery delivery;
  const std::uint32_t elements = reader->array("job", kElements, UINT32_MAX);
  if (!reader->ok()) return delivery;
  delivery.lease.job = read_job_id(reader, "job: id");
  delivery.lease.lease_no = reader->u32("job: lease_no");
  delivery.attempt = reader->u32("job: attempt");
  delivery.max_attempts = reader->u32("job: max_attempts");
  delivery.queue = reader->text("job: queue", limits::kQueueNameBytesMax);
  delivery.type = reader->text("job: type", limits::kTypeBytesMax);
  delivery.headers = read_headers(reader);
  delivery.body = reader->opaque("job: body");
  delivery.priority = static_cast<std::uint8_t>(reader->bounded("job: priority", limits::kPriorityMax));
  delivery.enqueued_at.ms = reader->i64("job: enqueued_at");
  delivery.lease_ms = reader->u32("job: lease_ms");
  delivery.max_run_ms = reader->u32("job: max_run_ms");
  reader->skip_many("job", elements - kElements);
  return delivery;
}

Deliver read_deliver(Reader* reader) {
  Deliver push;
  push.session.value = reader->u64("session");
  const std::uint32_t count = reader->array("jobs", 0, limits::kJobsPerMessageMax);
  push.jobs.reserve(count);
  for (std::uint32_t i = 0; i < count && reader->ok(); ++i) push.jobs.push_back(read_delivery(reader));
  return push;
}

Bye read_bye(Reader* reader) {
  Bye push;
  push.reason = static_cast<Code>(reader->u16("reason"));
  push.retry_after_ms = reader->u32("retry_after_ms");
  return push;
}

// Reads the fields and leaves in *rest how many elements of the message are still to be skipped.
Result<Reply> read_fields(Reader* reader, const MessageHeader& header, std::uint32_t* rest) {
  const auto fixed = [&](std::uint32_t fields) {
    need_fields(reader, header, fields);
    *rest = header.fields >= fields ? header.fields - fields : 0;
  };
  if (header.type > 255) return {Code::unknown_verb, fmt::format("message type {}", header.type)};
  switch (static_cast<MessageType>(header.type)) {
    case MessageType::welcome:
      fixed(8);
      return Reply(read_welcome(reader));
    case MessageType::registered:
      fixed(6);
      return Reply(read_registered(reader));
    case MessageType::enqueued:
      fixed(2);
      return Reply(read_enqueued(reader));
    case MessageType::outcomes_reply:
      fixed(1);
      return Reply(OutcomesReply{read_claims(reader, "results")});
    case MessageType::heartbeat_reply:
      fixed(2);
      return Reply(read_heartbeat_reply(reader));
    case MessageType::goodbye_reply:
      fixed(0);
      return Reply(GoodbyeReply{});
    case MessageType::admin_reply:
      fixed(1);
      return Reply(read_admin_reply(reader));
    case MessageType::error:
      fixed(3);
      return Reply(read_error(reader));
    case MessageType::deliver:
      fixed(2);
      return Reply(read_deliver(reader));
    case MessageType::bye:
      fixed(2);
      return Reply(read_bye(reader));
    case MessageType::revoked:
      fixed(1);
      return Reply(Revoked{read_leases(reader, "leases")});
    case MessageType::cancel_requested:
      fixed(1);
      return Reply(CancelRequested{read_leases(reader, "leases")});
    case MessageType::drain_requested:
      fixed(0);
      return Reply(DrainRequested{});
    default:
      return {Code::unknown_verb, fmt::format("message type {} is no reply or push of protocol version {}",
                                              header.type, kWireVersion)};
  }
}

}  // namespace

Result<ReplyMessage> decode_reply(std::string_view frame, const DecodeLimits& limits) {
  if (frame.size() > limits.message_bytes_max) {
    return {Code::too_large, fmt::format("a message of {} bytes; at most {} are taken", frame.size(),
                                         limits.message_bytes_max)};
  }
  Reader reader(frame);
  const MessageHeader header = read_header(&reader);
  if (!reader.ok()) return reader.status();
  if (header.version != kWireVersion) {
    return {Code::unsupported_version,
            fmt::format("protocol version {}; this side speaks {}", header.version, kWireVersion)};
  }
  std::uint32_t rest = 0;
  Result<Reply> reply = read_fields(&reader, header, &rest);
  if (!reply.ok()) return reply.status();
  reader.skip_many("message", rest);
  if (reader.ok() && reader.remaining() > 0) reader.fail(Code::bad_message, "message", "bytes follow it");
  if (!reader.ok()) return reader.status();
  return ReplyMessage{header.request_id, *std::move(reply)};
}

}  // namespace jobq::protocol
