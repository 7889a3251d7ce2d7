#include "libjobq/worker/job_run.hpp"

#include <algorithm>
#include <limits>

#include "libjobq/protocol/codec.hpp"

namespace jobq {

namespace {

Headers unpacked(const std::string& packed) {
  if (packed.empty()) return {};
  Result<protocol::Headers> headers = protocol::unpack_headers(packed);
  if (!headers.ok()) return {};  // The broker checked them when the job came in.
  return *std::move(headers);
}

}  // namespace

JobRun::JobRun(DeliveredJob its_job, TimeMs until, std::shared_ptr<const Extend> extend)
    : job(std::move(its_job)),
      id(to_text(job.lease.job)),
      headers(unpacked(job.headers)),
      extend_(std::move(extend)),
      owned_until_ms_(until.ms) {}

void JobRun::reuse(DeliveredJob its_job, TimeMs until) {
  job = std::move(its_job);
  id = to_text(job.lease.job);
  headers = unpacked(job.headers);
  lost_.store(false, std::memory_order_relaxed);
  owned_until_ms_.store(until.ms, std::memory_order_relaxed);
  deadline_ = Clock::time_point::max();
  decided_.reset();
}

bool JobRun::reusable() const {
  const std::lock_guard lock(mutex_);
  return !stop_.stop_possible() && reason_.load() == StopReason::none;
}

void JobRun::begin(Clock::time_point now) {
  if (job.max_run.ms == 0) return;
  const std::lock_guard lock(mutex_);
  deadline_ = now + std::chrono::milliseconds{job.max_run.ms};
}

void JobRun::decide(protocol::OutcomeKind kind, std::string_view text, std::chrono::milliseconds delay) {
  const std::lock_guard lock(mutex_);
  if (decided_) return;
  decided_ = JobOutcome{job.lease, kind, std::string{text}, to_ms(delay), {}};
}

std::optional<JobOutcome> JobRun::decided() const {
  const std::lock_guard lock(mutex_);
  return decided_;
}

void JobRun::request_stop(StopReason reason, bool lost) {
  if (lost) lost_.store(true);
  StopReason none = StopReason::none;
  reason_.compare_exchange_strong(none, reason);
  std::stop_source stop{std::nostopstate};
  {
    const std::lock_guard lock(mutex_);
    if (!stop_.stop_possible()) stop_ = std::stop_source{};
    stop = stop_;
  }
  stop.request_stop();  // runs what the handler has registered: not under the mutex
}

std::stop_token JobRun::stop_token() {
  const std::lock_guard lock(mutex_);
  if (!stop_.stop_possible()) stop_ = std::stop_source{};
  return stop_.get_token();
}

JobRun::Clock::time_point JobRun::deadline() const {
  const std::lock_guard lock(mutex_);
  return deadline_;
}

bool JobRun::extend() {
  if (lost_.load()) return false;
  (*extend_)(job.lease);
  return true;
}

// ---- Context: the public face of it

std::string_view Context::id() const { return run_->id; }
std::string_view Context::queue() const { return run_->job.queue; }
std::string_view Context::type() const { return run_->job.type; }
std::string_view Context::body() const { return run_->job.body; }
int Context::priority() const { return run_->job.priority; }
std::uint32_t Context::attempt() const { return run_->job.attempt; }
std::uint32_t Context::max_attempts() const { return run_->job.max_attempts; }
const Headers& Context::headers() const { return run_->headers; }

std::optional<std::string_view> Context::header(std::string_view name) const {
  const auto found = std::find_if(run_->headers.begin(), run_->headers.end(),
                                  [&](const auto& header) { return header.first == name; });
  if (found == run_->headers.end()) return std::nullopt;
  return found->second;
}

// What a broker says is not trusted to be a time that fits: nanoseconds in 64 bits end in 2262.
WallTime Context::enqueued_at() const {
  constexpr std::int64_t kMostMs = std::numeric_limits<std::int64_t>::max() / 1'000'000;
  return WallTime{std::chrono::milliseconds{std::clamp(run_->job.enqueued_at.ms, -kMostMs, kMostMs)}};
}
std::chrono::steady_clock::time_point Context::deadline() const { return run_->deadline(); }

std::chrono::steady_clock::time_point Context::lease_until() const {
  return steady_time(run_->owned_until());
}

std::stop_token Context::stop_token() const { return run_->stop_token(); }
StopReason Context::stop_reason() const { return run_->stop_reason(); }
bool Context::extend() { return run_->extend(); }

void Context::snooze(std::chrono::milliseconds delay) {
  run_->decide(protocol::OutcomeKind::snooze, "", delay);
}
void Context::reject(std::string_view error) { run_->decide(protocol::OutcomeKind::reject, error, {}); }
void Context::release() { run_->decide(protocol::OutcomeKind::release, "", {}); }
void Context::fail(std::string_view error, std::chrono::milliseconds delay) {
  run_->decide(protocol::OutcomeKind::nack, error, delay);
}

}  // namespace jobq
