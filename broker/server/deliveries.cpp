#include "broker/server/deliveries.hpp"

#include <algorithm>

namespace jobq {

Status DeliveryWriter::write(const DeliverPlan& plan, const Emit& emit,
                             std::vector<protocol::LeaseRef>* damaged) {
  std::vector<JobId> ids;
  ids.reserve(plan.jobs.size());
  for (const PlannedDelivery& planned : plan.jobs) ids.push_back(planned.lease.job);
  Status visited = store_->visit_jobs(ids, [&](std::size_t index, const StoredJob* job) {
    const PlannedDelivery& planned = plan.jobs[index];
    if (job == nullptr) {
      damaged->push_back(planned.lease);
      return;
    }
    if (leases_.empty()) begin(plan.session);
    add(planned, *job);
    if (message_.size() >= kMessageBytes) close(emit);
  });
  close(emit);
  return visited;
}

// The message before may have been taken away with its memory.
void DeliveryWriter::begin(SessionNo session) {
  message_.reserve(std::min(room_, 2 * kMessageBytes));
  writer_.begin(session);
}

protocol::Delivery DeliveryWriter::describe(const PlannedDelivery& planned, const StoredJob& job) const {
  protocol::Delivery delivery;
  delivery.lease = planned.lease;
  delivery.attempt = planned.attempt;
  delivery.max_attempts = planned.max_attempts;
  delivery.queue = engine_->queue_name(planned.queue);
  delivery.type = engine_->type_name(job.meta.lane.type);
  delivery.headers = job.headers;
  delivery.priority = job.meta.lane.priority;
  delivery.enqueued_at = job.meta.enqueued_at;
  delivery.lease_ms = planned.lease_ms;
  delivery.max_run_ms = planned.max_run_ms;
  return delivery;
}

void DeliveryWriter::add(const PlannedDelivery& planned, const StoredJob& job) {
  // What stands behind a large body must not make a string of twice the size.
  if (job.body.size() > kMessageBytes)
    message_.reserve(message_.size() + job.body.size() + job.headers.size() + kRoomForFields);
  writer_.add(describe(planned, job), job.body.parts());
  leases_.push_back(planned.lease);
}

void DeliveryWriter::close(const Emit& emit) {
  if (leases_.empty()) return;
  writer_.finish();
  room_ = message_.size();
  emit(&message_, leases_);
  leases_.clear();
  if (message_.capacity() > kKeptBytes)
    std::string{}.swap(message_);  // one job of 64 MiB must not cost memory for ever
}

}  // namespace jobq
