// What the loop does besides its turns: watches the store's room and the clock, feeds the rates, takes over settings, says
// goodbye.
#include "broker/server/log.hpp"
#include "broker/server/server.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq {
namespace {

constexpr DurationMs kAdmissionEvery{1'000};
constexpr std::uint32_t kFullRetryAfterMs = 2'000;
constexpr std::uint32_t kComeBackAfterMs = 100;

}  // namespace

void Server::watch_changes() {
  if (events_.followed(now_.engine)) events_.observe(out_.changes, *engine_, now_.engine);
  for (const Change& change : out_.changes) {
    if (const auto* put = std::get_if<change::PutCounters>(&change)) {
      rates_.observe(put->queue, put->counters, now_.engine);
    } else if (const auto* removed = std::get_if<change::RemoveQueue>(&change)) {
      rates_.forget(removed->queue);
    }
  }
}

// Enqueues are refused while there is still room for acks, retries and deletes, which need free pages as well.
void Server::check_admission() {
  // By time, and by what has come in: a fast producer must not use up the reserve between two looks.
  bytes_since_check_ += bytes_gathered_;
  const bool due = !admission_checked_.is_set() || now_.engine - admission_checked_ >= kAdmissionEvery ||
                   bytes_since_check_ > config_.store_min_free_bytes / 8;
  if (!due || JOBQ_PLANTED(full_disk_unnoticed)) return;
  admission_checked_ = now_.engine;
  bytes_since_check_ = 0;
  const StoreHealth health = store_->health();
  Admission admission;
  if (health.used_bytes > health.map_bytes / 100 * config_.store_full_percent) {
    admission = {Code::store_full, kFullRetryAfterMs};
  } else if (health.disk_free_bytes < config_.store_min_free_bytes) {
    admission = {Code::disk_full, kFullRetryAfterMs};
  }
  if (admission.refuse != admission_.refuse) {
    if (admission.refuse == Code::ok) {
      log::info("enqueues are accepted again");
    } else {
      log::warning("enqueues are refused from now on: {} ({} MiB of {} MiB used, {} MiB free on the disk)",
                   to_string(admission.refuse), health.used_bytes >> 20, health.map_bytes >> 20,
                   health.disk_free_bytes >> 20);
    }
  }
  admission_ = admission;
  engine_->set_admission(admission_);
  if (health.slow_commits > slow_commits_told_) {
    slow_commits_told_ = health.slow_commits;
    log::warning(
        "the disk of the data directory is slow, and all answers wait for it: commits that took {} ms or "
        "longer "
        "since the start: {}, the longest {} ms",
        kSlowCommit.ms, health.slow_commits, health.commit_us_max / 1000);
  }
  if (const auto jump = clock_->take_jump()) {
    log::warning(
        "the wall clock jumped by {} ms; leases and delays are not affected, dates given with --at are",
        jump->by.ms);
  }
}

void Server::say_goodbye() {
  for (const auto& [peer, features] : greeted_) {
    encoded_.clear();
    protocol::encode(protocol::ReplyMessage{0, protocol::Bye{Code::shutting_down, kComeBackAfterMs}},
                     &encoded_);
    transport_->send(PeerId{peer}, encoded_);
  }
}

void Server::reload(const Config& config) {
  config_ = config;
  engine_->set_limits(config_.engine);
  admission_checked_ = {};
}

}  // namespace jobq
