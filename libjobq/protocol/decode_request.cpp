#include <fmt/format.h>

#include <algorithm>

#include "libjobq/base/hash.hpp"
#include "libjobq/base/planted.hpp"
#include "libjobq/protocol/codec.hpp"
#include "libjobq/protocol/field_readers.hpp"
#include "libjobq/protocol/reader.hpp"

namespace jobq::protocol {
namespace {

constexpr std::uint64_t kAdminValueBytesMax = limits::kErrorTextBytesMax;

Hello read_hello(Reader* reader) {
  Hello hello;
  hello.version_min = reader->u32("version_min");
  hello.version_max = reader->u32("version_max");
  hello.features = reader->u64("features");
  hello.client = reader->text("client", limits::kNameBytesMax);
  hello.host = reader->text("host", limits::kNameBytesMax);
  hello.pid = reader->u32("pid");
  return hello;
}

// [name, weight]
WeightedQueue read_weighted_queue(Reader* reader) {
  WeightedQueue queue;
  std::uint32_t left = reader->array("queues", 1, UINT32_MAX);
  if (!reader->ok()) return queue;
  left -= 1;
  queue.name = reader->text("queues: name", limits::kQueueNameBytesMax);
  if (!reader->ok()) return queue;
  if (const Status status = check_queue_name(queue.name); !status.ok()) {
    reader->fail(Code::bad_argument, "queues: name", status.text());
    return queue;
  }
  if (present(reader, &left)) {
    queue.weight = static_cast<std::uint32_t>(reader->bounded("queues: weight", limits::kWeightMax));
    if (reader->ok() && queue.weight == 0) {
      reader->fail(Code::bad_argument, "queues: weight", "0; give 1 to 100, or leave the queue out");
    }
  }
  reader->skip_many("queues", left);
  return queue;
}

Register read_register(Reader* reader) {
  Register request;
  if (!reader->take_nil()) request.session.value = reader->u64("session");
  request.secret = reader->id16("secret");
  const std::uint32_t queues = reader->array("queues", 1, limits::kQueuesPerWorkerMax);
  request.queues.reserve(queues);
  for (std::uint32_t i = 0; i < queues && reader->ok(); ++i)
    request.queues.push_back(read_weighted_queue(reader));
  const std::uint32_t types = reader->array("types", 0, limits::kTypesPerWorkerMax);
  request.types.reserve(types);
  for (std::uint32_t i = 0; i < types && reader->ok(); ++i) {
    request.types.push_back(reader->text("types", limits::kTypeBytesMax));
    if (!reader->ok()) break;
    if (const Status status = check_type(request.types.back()); !status.ok()) {
      reader->fail(Code::bad_argument, "types", status.text());
    }
  }
  request.credit_jobs = static_cast<std::uint32_t>(reader->bounded("credit_jobs", limits::kCreditJobsMax));
  request.credit_bytes = reader->u64("credit_bytes");
  request.held = read_leases(reader, "held");
  request.outcomes = read_outcomes(reader, "outcomes");
  request.name = reader->text("name", limits::kNameBytesMax);
  request.host = reader->text("host", limits::kNameBytesMax);
  request.pid = reader->u32("pid");
  request.build = reader->text("build", limits::kNameBytesMax);
  return request;
}

// [type, body, headers, priority, unique_key, delay_ms, run_at, expires_in_ms, max_attempts, max_run_ms,
//  unique_for_ms]: the last ones may be left out. Values are judged by the engine, job by job.
EnqueueJob read_job(Reader* reader) {
  EnqueueJob job;
  std::uint32_t left = reader->array("job", 2, UINT32_MAX);
  if (!reader->ok()) return job;
  left -= 2;
  if (!reader->take_nil()) job.type = reader->text("job: type", SIZE_MAX);
  job.body = reader->opaque("job: body");
  if (left == 0) return job;
  if (present(reader, &left)) job.headers = read_headers(reader);
  if (present(reader, &left)) {
    job.priority = static_cast<std::uint8_t>(std::min(reader->u32_saturated("job: priority"), 255U));
  }
  if (present(reader, &left)) job.unique_key = reader->text("job: unique_key", SIZE_MAX);
  if (present(reader, &left)) job.delay.ms = reader->i64_saturated("job: delay_ms");
  if (present(reader, &left)) job.run_at.ms = reader->i64_saturated("job: run_at");
  if (present(reader, &left)) job.expires_in.ms = reader->i64_saturated("job: expires_in_ms");
  if (present(reader, &left)) job.max_attempts = reader->u32_saturated("job: max_attempts");
  if (present(reader, &left)) job.max_run_ms = reader->u32_saturated("job: max_run_ms");
  if (present(reader, &left)) job.unique_for.ms = reader->i64_saturated("job: unique_for_ms");
  reader->skip_many("job", left);
  return job;
}

// [queue, [job, job, ...]]
void read_group(Reader* reader, Enqueue* request) {
  EnqueueGroup group;
  const std::uint32_t elements = reader->array("group", 2, UINT32_MAX);
  group.queue = reader->text("group: queue", SIZE_MAX);
  const std::size_t room = limits::kJobsPerMessageMax - request->jobs.size();
  group.count = reader->array("group: jobs", 1, room);
  group.first = static_cast<std::uint32_t>(request->jobs.size());
  // The first group says how many jobs to make room for; growing serves the others, so that a message of many
  // small groups does not reserve again for each.
  if (request->jobs.empty()) request->jobs.reserve(group.count);
  for (std::uint32_t i = 0; i < group.count && reader->ok(); ++i) request->jobs.push_back(read_job(reader));
  if (reader->ok()) reader->skip_many("group", elements - 2);
  request->groups.push_back(group);
}

Enqueue read_enqueue(Reader* reader) {
  Enqueue request;
  request.producer = reader->id16("producer");
  request.sequence = reader->u64("sequence");
  request.lowest_open = reader->u64("lowest_open");
  request.resend = reader->boolean("resend");
  const std::size_t start = reader->position();
  const std::uint32_t groups = reader->array("groups", 1, limits::kJobsPerMessageMax);
  request.groups.reserve(groups);
  if (groups > 1) request.jobs.reserve(groups);
  for (std::uint32_t i = 0; i < groups && reader->ok(); ++i) read_group(reader, &request);
  if (reader->ok()) request.content_hash = hash64(reader->since(start));
  return request;
}

Outcomes read_outcomes_request(Reader* reader, std::uint32_t* optional) {
  Outcomes request;
  request.outcomes = read_outcomes(reader, "outcomes");
  if (present(reader, optional)) {
    request.credit_jobs = static_cast<std::uint32_t>(reader->bounded("credit_jobs", limits::kCreditJobsMax));
  }
  return request;
}

Heartbeat read_heartbeat(Reader* reader, std::uint32_t* optional) {
  Heartbeat request;
  request.extend = read_leases(reader, "extend");
  if (present(reader, optional)) {
    request.credit_jobs = static_cast<std::uint32_t>(reader->bounded("credit_jobs", limits::kCreditJobsMax));
  }
  return request;
}

ParamValue read_param_value(Reader* reader) {
  switch (reader->peek()) {
    case Reader::Kind::nil:
      reader->take_nil();
      return std::monostate{};
    case Reader::Kind::boolean:
      return reader->boolean("params: a value");
    case Reader::Kind::integer:
      return reader->i64("params: a value");
    default:
      return reader->text("params: a value", kAdminValueBytesMax);
  }
}

Admin read_admin(Reader* reader) {
  Admin request;
  request.verb = reader->text("verb", limits::kNameBytesMax);
  const std::uint32_t count = reader->map("params", limits::kAdminParamsMax);
  request.params.reserve(count);
  for (std::uint32_t i = 0; i < count && reader->ok(); ++i) {
    const std::string_view name = reader->text("params: a name", limits::kNameBytesMax);
    for (const Param& earlier : request.params) {
      if (earlier.name == name) reader->fail(Code::bad_argument, "params", "a name comes twice");
    }
    const ParamValue value = read_param_value(reader);
    request.params.push_back({name, value});
  }
  return request;
}

// Reads the fields and leaves in *rest how many elements of the message are still to be skipped.
Result<Request> read_fields(Reader* reader, const MessageHeader& header, std::uint32_t* rest) {
  const auto fixed = [&](std::uint32_t fields) {
    need_fields(reader, header, fields);
    *rest = header.fields >= fields ? header.fields - fields : 0;
  };
  switch (header.type) {
    case static_cast<std::uint64_t>(MessageType::hello):
      fixed(6);
      return Request(read_hello(reader));
    case static_cast<std::uint64_t>(MessageType::register_worker):
      fixed(12);
      return Request(read_register(reader));
    case static_cast<std::uint64_t>(MessageType::enqueue):
      fixed(5);
      return Request(read_enqueue(reader));
    case static_cast<std::uint64_t>(MessageType::outcomes):
      fixed(1);
      return Request(read_outcomes_request(reader, rest));
    case static_cast<std::uint64_t>(MessageType::heartbeat):
      fixed(1);
      return Request(read_heartbeat(reader, rest));
    case static_cast<std::uint64_t>(MessageType::goodbye):
      fixed(0);
      return Request(Goodbye{});
    case static_cast<std::uint64_t>(MessageType::admin):
      fixed(2);
      return Request(read_admin(reader));
    default:
      return {Code::unknown_verb, fmt::format("message type {} is not a request of protocol version {}",
                                              header.type, kWireVersion)};
  }
}

}  // namespace

Result<RequestMessage> decode_request(std::string_view frame, const DecodeLimits& limits,
                                      std::uint64_t* request_id) {
  Reader reader(frame);
  const MessageHeader header = read_header(&reader);
  if (request_id != nullptr) *request_id = reader.ok() ? header.request_id : 0;
  if (!reader.ok()) return reader.status();
  if (frame.size() > limits.message_bytes_max) {
    return {Code::too_large,
            fmt::format("a message of {} bytes; at most {} are taken: send fewer jobs at once", frame.size(),
                        limits.message_bytes_max)};
  }
  if (header.version != kWireVersion) {
    return {Code::unsupported_version,
            fmt::format("protocol version {}; this side speaks {}", header.version, kWireVersion)};
  }
  std::uint32_t rest = 0;
  Result<Request> request = read_fields(&reader, header, &rest);
  if (!request.ok()) return request.status();
  reader.skip_many("message", rest);
  if (reader.ok() && reader.remaining() > 0 && !JOBQ_PLANTED(bytes_behind_a_message))
    reader.fail(Code::bad_message, "message", "bytes follow it");
  if (!reader.ok()) return reader.status();
  return RequestMessage{header.request_id, *std::move(request)};
}

}  // namespace jobq::protocol
