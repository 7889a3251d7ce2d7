#include "libjobq/protocol/deliver_writer.hpp"

#include <limits>

#include "libjobq/base/bytes.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"
#include "libjobq/protocol/packing.hpp"

namespace jobq::protocol {

namespace {

void pack_before_body(Packer* packer, StringSink* sink, const Delivery& job, std::size_t body_bytes) {
  pack_count(packer, 12);
  pack_job_id(packer, job.lease.job);
  packer->pack_uint32(JOBQ_PLANTED(lease_no_cut) ? job.lease.lease_no & 0xFFU : job.lease.lease_no);
  packer->pack_uint32(job.attempt);
  packer->pack_uint32(job.max_attempts);
  pack_text(packer, job.queue);
  pack_text(packer, job.type);
  pack_headers_as_they_are(packer, sink, job.headers);
  packer->pack_bin(static_cast<std::uint32_t>(body_bytes));
}

void pack_parts(Packer* packer, std::span<const std::string_view> parts) {
  for (const std::string_view part : parts)
    packer->pack_bin_body(part.data(), static_cast<std::uint32_t>(part.size()));
}

void pack_behind_body(Packer* packer, const Delivery& job) {
  packer->pack_uint32(job.priority);
  packer->pack_int64(job.enqueued_at.ms);
  packer->pack_uint32(job.lease_ms);
  packer->pack_uint32(job.max_run_ms);
}

}  // namespace

void pack_delivery(Packer* packer, StringSink* sink, const Delivery& job,
                   std::span<const std::string_view> body) {
  std::size_t bytes = 0;
  for (const std::string_view part : body) bytes += part.size();
  pack_before_body(packer, sink, job, bytes);
  pack_parts(packer, body);
  pack_behind_body(packer, job);
}

void DeliverWriter::begin(SessionNo session) {
  out_->clear();
  jobs_ = 0;
  StringSink sink(out_);
  Packer packer(sink);
  pack_header(&packer, MessageType::deliver, 0, 2);
  packer.pack_uint64(session.value);
  pack_count(&packer, std::numeric_limits<std::uint32_t>::max());  // the width that has room for any
  sink.flush();
  count_at_ = out_->size() - sizeof(std::uint32_t);
}

void DeliverWriter::add(const Delivery& job, std::span<const std::string_view> body) {
  ++jobs_;
  StringSink sink(out_);
  Packer packer(sink);
  pack_delivery(&packer, &sink, job, body);
  sink.flush();
}

void DeliverWriter::begin_job(const Delivery& job, std::size_t body_bytes) {
  ++jobs_;
  StringSink sink(out_);
  Packer packer(sink);
  pack_before_body(&packer, &sink, job, body_bytes);
  sink.flush();
}

void DeliverWriter::add_piece(std::span<const std::string_view> parts) {
  for (const std::string_view part : parts) out_->append(part);
}

void DeliverWriter::end_job(const Delivery& job) {
  StringSink sink(out_);
  Packer packer(sink);
  pack_behind_body(&packer, job);
  sink.flush();
}

void DeliverWriter::finish() {
  const std::uint32_t count = to_big_endian(jobs_);
  JOBQ_CHECK(count_at_ > 0 && count_at_ + sizeof count <= out_->size());
  std::memcpy(out_->data() + count_at_, &count, sizeof count);
}

}  // namespace jobq::protocol
