#include "broker/server/delivery_queue.hpp"

#include <algorithm>
#include <utility>

#include "broker/server/log.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq {
namespace {

// Of jobs, before the transport is asked whether the worker has room for them.
constexpr std::uint64_t kCopiedUnasked = 1U << 20;

}  // namespace

bool DeliveryQueue::is_large(const DeliverPlan& plan) const {
  return plan.bytes > plan.jobs.size() * std::uint64_t{large_job_bytes_};
}

Status DeliveryQueue::hand_over(PeerId to, DeliverPlan plan) {
  if (!is_large(plan) && (!waiting_for_.contains(to.value) || JOBQ_PLANTED(large_job_overtaken)))
    return write(to, plan);
  wait(to, std::move(plan));
  return {};
}

bool DeliveryQueue::append(PeerId to, std::string_view message) {
  if (waiting_.empty() || !waiting_for_.contains(to.value)) return false;
  wait(to, std::string(message));
  return true;
}

void DeliveryQueue::wait(PeerId to, std::variant<DeliverPlan, std::string> what) {
  waiting_.push_back({to, std::move(what)});
  ++waiting_for_[to.value];
}

void DeliveryQueue::done_with_first() {
  const auto peer = waiting_for_.find(waiting_.front().to.value);
  if (--peer->second == 0) waiting_for_.erase(peer);
  waiting_.pop_front();
}

Status DeliveryQueue::go_on(std::uint64_t bytes, const Now& now) {
  std::uint64_t left = std::max<std::uint64_t>(bytes, 1);
  while (!waiting_.empty() && left > 0) {
    Waiting& first = waiting_.front();
    bool done = true;
    if (const auto* message = std::get_if<std::string>(&first.what)) {
      if (!parts_.transport->send(first.to, *message))
        parts_.failures->push_back({first.to, 0, command::PeerLost{}});
    } else {
      const auto& plan = std::get<DeliverPlan>(first.what);
      const std::uint64_t share = std::min(left, plan.bytes);
      const bool in_pieces = plan.jobs.size() == 1 && (begun_ || plan.bytes > left);
      Status written = in_pieces ? write_piece(first.to, plan, share, now, &done) : write(first.to, plan);
      if (!written.ok()) return written;
      left -= share;
    }
    if (done) done_with_first();
  }
  return {};
}

Status DeliveryQueue::write(PeerId to, const DeliverPlan& plan) {
  std::vector<protocol::LeaseRef> damaged, failed;
  if (plan.bytes >= kCopiedUnasked && !parts_.transport->has_room(to, plan.bytes)) {
    for (const PlannedDelivery& planned : plan.jobs) failed.push_back(planned.lease);
    fail(to, std::move(failed));
    return {};
  }
  Status written = writer_.write(
      plan,
      [&](std::string* bytes, const std::vector<protocol::LeaseRef>& leases) {
        if (failed.empty() && (parts_.transport->give(to, bytes) || JOBQ_PLANTED(failed_send_is_delivered)))
          return;
        failed.insert(failed.end(), leases.begin(), leases.end());
      },
      &damaged);
  if (!written.ok()) return written;
  report_damage(plan.session, damaged);
  if (!failed.empty()) fail(to, std::move(failed));
  return {};
}

// done: there is nothing more to do for this plan, for better or worse.
Status DeliveryQueue::write_piece(PeerId to, const DeliverPlan& plan, std::uint64_t bytes, const Now& now,
                                  bool* done) {
  const PlannedDelivery& planned = plan.jobs.front();
  *done = true;
  if (!begun_) {
    // What it is about may have ended while it waited.
    if (!current(plan.session, planned.lease)) return {};
    if (!parts_.transport->has_room(to, plan.bytes)) {
      fail(to, {planned.lease});
      return {};
    }
    piecewise_.begin(plan.session);
  }
  const std::uint64_t from = begun_ ? begun_->copied : 0;
  bool found = false;
  Status visited =
      parts_.store->visit_piece(planned.lease.job, {from, bytes}, [&](std::size_t, const StoredJob* stored) {
        if (stored == nullptr) return;
        found = true;
        add_piece(planned, *stored);
      });
  if (!visited.ok()) return visited;
  if (!found) {
    begun_.reset();
    std::string{}.swap(message_);
    report_damage(plan.session, {planned.lease});
    return {};
  }
  *done = begun_->copied >= begun_->body_bytes;
  if (*done) close(to, plan, now);
  return {};
}

void DeliveryQueue::add_piece(const PlannedDelivery& planned, const StoredJob& stored) {
  if (!begun_) {
    BegunDelivery& begun = begun_.emplace();
    begun.job = writer_.describe(planned, stored);
    begun.body_bytes = stored.meta.bytes - stored.headers.size();
    message_.reserve(message_.size() + stored.meta.bytes + DeliveryWriter::kRoomForFields);
    piecewise_.begin_job(begun.job, begun.body_bytes);
    begun.job.queue = begun.job.type = begun.job.headers = {};  // they do not live on, and are written
  }
  piecewise_.add_piece(stored.body.parts());
  begun_->copied += stored.body.size();
}

void DeliveryQueue::close(PeerId to, const DeliverPlan& plan, const Now& now) {
  BegunDelivery begun = *std::exchange(begun_, std::nullopt);
  const std::optional<LeaseView> lease = current(plan.session, begun.job.lease);
  if (lease) {
    const DurationMs left = lease->lease_until - now.engine;
    begun.job.lease_ms = static_cast<std::uint32_t>(std::max<std::int64_t>(0, left.ms));
    piecewise_.end_job(begun.job);
    piecewise_.finish();
    if (!parts_.transport->give(to, &message_)) fail(to, {begun.job.lease});
  }
  std::string{}.swap(message_);
}

void DeliveryQueue::fail(PeerId to, std::vector<protocol::LeaseRef> leases) {
  parts_.failures->push_back({to, 0, command::SendFailed{std::move(leases)}});
}

// Of a job that has ended while it waited, nothing has to be there.
void DeliveryQueue::report_damage(SessionNo session, const std::vector<protocol::LeaseRef>& leases) {
  for (const protocol::LeaseRef& lease : leases) {
    if (!current(session, lease)) continue;
    log::error(
        "the stored record of job {} is damaged or missing; it is put among the dead. Run `jobq check`",
        to_text(lease.job));
    parts_.failures->push_back({{}, 0, command::Damaged{lease}});
  }
}

// Set while the session holds the job by this lease.
std::optional<LeaseView> DeliveryQueue::current(SessionNo session, const protocol::LeaseRef& lease) const {
  std::optional<LeaseView> view = parts_.engine->lease(lease.job);
  if (view && (view->lease_no != lease.lease_no || view->session != session)) view.reset();
  return view;
}

}  // namespace jobq
