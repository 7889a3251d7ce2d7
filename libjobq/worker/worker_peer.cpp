#include "libjobq/worker/worker_peer.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

namespace jobq {

using protocol::OutcomeKind;

WorkerPeer::WorkerPeer(LinkIdentity identity, WorkerSetup setup, std::shared_ptr<JobPool> pool,
                       std::weak_ptr<Runtime> runtime, LogSink log, int changed_fd)
    : pool_(std::move(pool)),
      runtime_(std::move(runtime)),
      log_(std::move(log)),
      changed_fd_(changed_fd),
      core_(std::move(identity), std::move(setup)) {}

void WorkerPeer::wake() {
  if (const std::shared_ptr<Runtime> runtime = runtime_.lock()) runtime->driver().wake(this);
}

void WorkerPeer::started(const protocol::LeaseRef& lease) {
  {
    const std::lock_guard lock(mutex_);
    inbox_.started.push_back(lease);
  }
  wake();
}

void WorkerPeer::finished(JobOutcome outcome) {
  bool woken = false;
  {
    const std::lock_guard lock(mutex_);
    woken = outcomes_can_wait_ || !inbox_.finished.empty();  // the first one has woken it
    inbox_.finished.push_back(std::move(outcome));
  }
  if (woken) return;
  if (const std::shared_ptr<Runtime> runtime = runtime_.lock()) runtime->driver().drive(this);
}

void WorkerPeer::extend(const protocol::LeaseRef& lease) {
  {
    const std::lock_guard lock(mutex_);
    inbox_.extends.push_back(lease);
  }
  wake();
}

void WorkerPeer::drain(std::chrono::milliseconds total, std::chrono::milliseconds grace, bool at_once) {
  const std::shared_ptr<Runtime> runtime = runtime_.lock();
  if (!runtime) return;
  {
    const std::lock_guard lock(mutex_);
    inbox_.drain = Inbox::Drain{runtime->driver().now() + to_ms(total), to_ms(grace), at_once};
  }
  runtime->driver().wake(this);
}

std::chrono::steady_clock::time_point WorkerPeer::last_turn() {
  using Clock = std::chrono::steady_clock;
  wake();
  return Clock::time_point{Clock::duration{turned_at_.load()}};
}

Status WorkerPeer::refusal() const {
  const std::lock_guard lock(mutex_);
  return refusal_;
}

PeerUse WorkerPeer::use() {
  PeerUse use;
  use.handlers = runs_.size() - std::min(runs_.size(), pool_->without_thread());
  use.waited_for = draining_ && !core_.done();
  return use;
}

void WorkerPeer::log(std::string_view line) {
  if (log_) log_(line);
}

void WorkerPeer::before_turn(TimeMs now) {
  Inbox inbox;
  inbox.finished = std::exchange(finished_before_, {});  // its memory is used again
  {
    const std::lock_guard lock(mutex_);
    std::swap(inbox, inbox_);
  }
  for (const protocol::LeaseRef& lease : inbox.started) core_.started(lease, now);
  for (JobOutcome& outcome : inbox.finished) {
    forget(outcome.lease);
    core_.finish(std::move(outcome), now);
  }
  inbox.finished.clear();
  finished_before_ = std::move(inbox.finished);
  for (const protocol::LeaseRef& lease : inbox.extends) core_.extend(lease, now);
  if (!inbox.drain) return;
  draining_ = true;
  if (inbox.drain->at_once) {
    core_.drain_at_once(now, inbox.drain->until);
  } else {
    core_.drain(now, inbox.drain->until, inbox.drain->grace);
  }
  // What has not begun goes back now: another worker can have it.
  for (const JobPool::Run& run : pool_->take_back_all()) {
    runs_.erase(run->job.lease);
    core_.hand_back(run->job.lease, now);
  }
}

// Its handler is done with it.
void WorkerPeer::forget(const protocol::LeaseRef& lease) {
  auto found = runs_.find(lease);
  if (found == runs_.end()) return;
  JobPool::Run run = std::move(found->second);
  runs_.erase(found);
  if (run.use_count() > 1) return;
  core_.recycle(std::move(run->job));
  if (spare_.size() < WorkerCore::kSpareJobs && run->reusable()) spare_.push_back(std::move(run));
}

bool WorkerPeer::after_turn(TimeMs now) {
  fed_ = false;
  core_.take_events(&events_before_);
  for (WorkerEvent& event : events_before_) {
    std::visit([&](auto& what) { take(std::move(what), now); }, event);
  }
  events_before_.clear();
  if (!fresh_.empty()) pool_->push(&fresh_);
  registered_.store(core_.registered());
  turned_at_.store(std::chrono::steady_clock::now().time_since_epoch().count());
  if (core_.done() && !done_.exchange(true)) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(changed_fd_, &one, sizeof(one));
  }
  return fed_;
}

bool WorkerPeer::turn_ended() {
  const std::lock_guard lock(mutex_);
  outcomes_can_wait_ = core_.registered() && !core_.wants_outcomes();
  return !outcomes_can_wait_ && !inbox_.finished.empty();
}

void WorkerPeer::take(worker_event::Run event, TimeMs /*now*/) {
  const protocol::LeaseRef lease = event.job.lease;
  if (!extend_) {
    extend_ =
        std::make_shared<const JobRun::Extend>([peer = weak_from_this()](const protocol::LeaseRef& which) {
          if (const auto self = peer.lock()) self->extend(which);
        });
  }
  JobPool::Run run;
  if (spare_.empty()) {
    run = std::make_shared<JobRun>(std::move(event.job), event.owned_until, extend_);
  } else {
    run = std::move(spare_.back());
    spare_.pop_back();
    run->reuse(std::move(event.job), event.owned_until);
  }
  runs_[lease] = run;
  fresh_.push_back(std::move(run));
}

void WorkerPeer::take(const worker_event::Stop& event, TimeMs now) {
  const auto found = runs_.find(event.lease);
  if (found == runs_.end()) return;
  const std::shared_ptr<JobRun> run = found->second;
  if (!fresh_.empty()) pool_->push(&fresh_);  // it may have come in this very turn
  if (pool_->take_back(run.get())) {
    runs_.erase(found);
    if (event.lost) return;
    core_.finish({event.lease, OutcomeKind::release, "", {}, {}}, now);
    fed_ = true;
    return;
  }
  log(fmt::format("job {} ({}) is asked to stop: {}", run->id, run->job.queue, to_string(event.reason)));
  run->request_stop(event.reason, event.lost);
}

void WorkerPeer::take(const worker_event::Extended& event, TimeMs /*now*/) {
  if (const auto found = runs_.find(event.lease); found != runs_.end())
    found->second->owned_until(event.owned_until);
}

void WorkerPeer::take(const worker_event::Registered& event, TimeMs /*now*/) {
  log(fmt::format("registered at {} (session {}{})", core_.link().identity().endpoint, event.session.value,
                  event.resumed ? ", taken up again" : ""));
}

void WorkerPeer::take(const worker_event::Refused& event, TimeMs /*now*/) {
  log(fmt::format("the broker at {} refuses this worker: {}", core_.link().identity().endpoint,
                  event.status.text()));
  {
    const std::lock_guard lock(mutex_);
    refusal_ = event.status;
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(changed_fd_, &one, sizeof(one));
}

void WorkerPeer::take(const worker_event::LeaveRequested& /*event*/, TimeMs /*now*/) {
  if (asked_to_leave_.exchange(true)) return;
  log("the broker asks this worker to leave");
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(changed_fd_, &one, sizeof(one));
}

void WorkerPeer::take(const worker_event::Note& event, TimeMs /*now*/) { log(event.text); }

}  // namespace jobq
