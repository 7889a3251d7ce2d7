#include "libjobq/protocol/field_readers.hpp"

#include <fmt/format.h>

#include <optional>

namespace jobq::protocol {

MessageHeader read_header(Reader* reader) {
  MessageHeader header;
  const std::uint32_t count = reader->array("message", 3, UINT32_MAX);
  header.version = reader->u64("version");
  header.type = reader->u64("type");
  header.request_id = reader->u64("request_id");
  if (reader->ok()) header.fields = count - 3;
  return header;
}

void need_fields(Reader* reader, const MessageHeader& header, std::uint32_t least) {
  if (header.fields >= least) return;
  reader->fail(Code::bad_message, "message",
               fmt::format("{} fields after the request id; this type has {}", header.fields, least));
}

bool present(Reader* reader, std::uint32_t* left) {
  if (*left == 0) return false;
  --*left;
  return reader->ok() && !reader->take_nil();
}

JobId read_job_id(Reader* reader, const char* field) {
  const std::string_view text = reader->text(field, 16);
  if (!reader->ok()) return {};
  const std::optional<JobId> id = parse_job_id(text);
  if (!id.has_value()) {
    reader->fail(Code::bad_argument, field, "not a job id; send ids back as they came");
    return {};
  }
  return *id;
}

std::vector<LeaseRef> read_leases(Reader* reader, const char* field) {
  std::vector<LeaseRef> leases;
  const std::uint32_t count = reader->array(field, 0, limits::kJobsPerMessageMax);
  leases.reserve(count);
  for (std::uint32_t i = 0; i < count && reader->ok(); ++i) {
    const std::uint32_t elements = reader->array(field, 2, UINT32_MAX);
    const JobId job = read_job_id(reader, field);
    const LeaseNo lease_no = reader->u32(field);
    if (reader->ok()) reader->skip_many(field, elements - 2);
    leases.push_back({job, lease_no});
  }
  return leases;
}

std::vector<Outcome> read_outcomes(Reader* reader, const char* field) {
  std::vector<Outcome> outcomes;
  const std::uint32_t count = reader->array(field, 0, limits::kJobsPerMessageMax);
  outcomes.reserve(count);
  for (std::uint32_t i = 0; i < count && reader->ok(); ++i) {
    Outcome outcome;
    std::uint32_t left = reader->array("outcome", 3, UINT32_MAX);
    if (!reader->ok()) break;
    left -= 3;
    outcome.lease.job = read_job_id(reader, "outcome: job");
    outcome.lease.lease_no = reader->u32("outcome: lease_no");
    outcome.kind = static_cast<OutcomeKind>(
        reader->bounded("outcome: kind", static_cast<std::uint64_t>(OutcomeKind::no_handler)));
    if (present(reader, &left)) outcome.ran_for.ms = reader->i64_saturated("outcome: ran_for_ms");
    if (present(reader, &left)) outcome.text = reader->text("outcome: text", limits::kErrorTextBytesMax);
    if (present(reader, &left)) outcome.delay.ms = reader->i64_saturated("outcome: delay_ms");
    reader->skip_many("outcome", left);
    outcomes.push_back(outcome);
  }
  return outcomes;
}

}  // namespace jobq::protocol
