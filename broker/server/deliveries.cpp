#include "broker/server/deliveries.hpp"

#include "libjobq/protocol/codec.hpp"

namespace jobq {
namespace {

constexpr std::size_t kKeptBytes = std::size_t{8} << 20;  // of a buffer, for the next message

}  // namespace

Status DeliveryWriter::write(const DeliverPlan& plan, const Emit& emit,
                             std::vector<protocol::LeaseRef>* damaged) {
  message_.session = plan.session;
  std::vector<JobId> ids;
  ids.reserve(plan.jobs.size());
  for (const PlannedDelivery& planned : plan.jobs) ids.push_back(planned.lease.job);
  Status visited = store_->visit_jobs(ids, [&](std::size_t index, const StoredJob* job) {
    const PlannedDelivery& planned = plan.jobs[index];
    if (job == nullptr) {
      damaged->push_back(planned.lease);
      return;
    }
    add(planned, *job);
    if (texts_.size() >= kMessageBytes) close(emit);
  });
  close(emit);
  return visited;
}

void DeliveryWriter::add(const PlannedDelivery& planned, const StoredJob& job) {
  protocol::Delivery& delivery = message_.jobs.emplace_back();
  delivery.lease = planned.lease;
  delivery.attempt = planned.attempt;
  delivery.max_attempts = planned.max_attempts;
  delivery.queue = engine_->queue_name(planned.queue);
  delivery.type = engine_->type_name(job.meta.lane.type);
  delivery.priority = job.meta.lane.priority;
  delivery.enqueued_at = job.meta.enqueued_at;
  delivery.lease_ms = planned.lease_ms;
  delivery.max_run_ms = planned.max_run_ms;
  Texts& place = places_.emplace_back();
  place.headers = texts_.size();
  texts_.append(job.headers);
  place.body = texts_.size();
  texts_.append(job.body);
  place.end = texts_.size();
  leases_.push_back(planned.lease);
}

void DeliveryWriter::close(const Emit& emit) {
  if (message_.jobs.empty()) return;
  const std::string_view texts = texts_;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const Texts& place = places_[i];
    message_.jobs[i].headers = texts.substr(place.headers, place.body - place.headers);
    message_.jobs[i].body = texts.substr(place.body, place.end - place.body);
  }
  protocol::ReplyMessage reply;
  const SessionNo session = message_.session;
  reply.body = std::move(message_);
  encoded_.clear();
  protocol::encode(reply, &encoded_);
  emit(encoded_, leases_);
  message_ = {};
  message_.session = session;
  places_.clear();
  leases_.clear();
  texts_.clear();
  for (std::string* buffer : {&encoded_, &texts_})  // one job of 64 MiB must not cost memory for ever
    if (buffer->capacity() > kKeptBytes) std::string{}.swap(*buffer);
}

}  // namespace jobq
