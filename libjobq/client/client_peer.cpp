#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "libjobq/client/client_impl.hpp"
#include "libjobq/identity.hpp"
#include "libjobq/worker/handler_thread.hpp"

namespace jobq {

ClientPeer::ClientPeer(std::string endpoint, const ClientOptions& options)
    : jobs_max_(options.buffer_jobs),
      bytes_max_(options.buffer_bytes),
      log_(options.log),
      core_(this_process(std::move(endpoint)), random_producer_id(), options.pack) {}

// REQUIRES: the mutex is held.
Status ClientPeer::room_for(std::size_t jobs, std::size_t bytes) const {
  if (closing_) return Status(Code::closed, "the client is closed: nothing was sent");
  if (jobs_ + jobs <= jobs_max_ && bytes_ + bytes <= bytes_max_) return {};
  return Status(
      Code::buffer_full,
      fmt::format("{} jobs with {} bytes already wait for the broker in this client (buffer_jobs {}, "
                  "buffer_bytes {}): nothing was sent; retry later",
                  jobs_, bytes_, jobs_max_, bytes_max_));
}

void ClientPeer::submit(std::span<Submission> submissions, IoDriver* io) {
  std::vector<std::pair<Submission*, Status>> refused;
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    for (Submission& submission : submissions) {
      const std::size_t jobs = submission.group.jobs.size();
      std::size_t bytes = 0;
      for (const OwnedJob& job : submission.group.jobs) bytes += job.wire_bytes();
      if (Status room = room_for(jobs, bytes); !room.ok()) {
        refused.emplace_back(&submission, std::move(room));
        continue;
      }
      jobs_ += jobs;
      bytes_ += bytes;
      wake = wake || (inbox_.empty() && admin_inbox_.empty());
      submission.group.token = next_token_++;
      inbox_.emplace_back(std::move(submission.group), Pending{std::move(submission.done), jobs, bytes,
                                                               submission.waiter, on_handler_thread()});
    }
  }
  if (wake) io->wake(this);
  for (const auto& [submission, status] : refused) {
    submission->done({submission->group.jobs.size(), EnqueueResult{Outcome::refused, status}});
  }
}

void ClientPeer::submit_admin(AdminCall call, AdminDone done, IoDriver* io) {
  bool closed = false;
  {
    const std::lock_guard lock(mutex_);
    closed = closing_;
    if (!closed) {
      call.token = next_token_++;
      admin_inbox_.emplace_back(std::move(call), std::move(done));
    }
  }
  if (closed) return done(Status(Code::closed, "the client is closed"));
  io->wake(this);
}

void ClientPeer::before_turn(TimeMs /*now*/) {
  std::vector<std::pair<SubmittedGroup, Pending>>& groups = taken_;
  std::vector<std::pair<AdminCall, AdminDone>> calls;
  bool closing = false;
  {
    const std::lock_guard lock(mutex_);
    groups.swap(inbox_);
    calls.swap(admin_inbox_);
    closing = closing_;
  }
  for (auto& [group, pending] : groups) {
    pending_.emplace(group.token, std::move(pending));
    core_.producer().submit(std::move(group));
  }
  groups.clear();
  for (auto& [call, done] : calls) {
    admin_pending_.emplace(call.token, std::move(done));
    core_.admin().submit(std::move(call));
  }
  if (closing) {
    core_.producer().close();
    core_.admin().close();
  }
}

bool ClientPeer::after_turn(TimeMs /*now*/) {
  connected_.store(core_.link().up());
  for (AdminCompletion& completion : core_.admin().take_completions()) {
    auto found = admin_pending_.extract(completion.token);
    if (!found.empty()) found.mapped()(std::move(completion.document));
  }
  std::vector<Completion> completions = core_.producer().take_completions();
  if (completions.empty()) return false;
  std::vector<std::pair<Done, std::vector<EnqueueResult>>> ended;
  ended.reserve(completions.size());
  {
    const std::lock_guard lock(mutex_);
    for (Completion& completion : completions) {
      const auto found = pending_.find(completion.token);
      if (found == pending_.end()) continue;
      jobs_ -= found->second.jobs;
      bytes_ -= found->second.bytes;
      ended.emplace_back(std::move(found->second.done), std::move(completion.results));
      pending_.erase(found);
    }
  }
  for (auto& [done, results] : ended) done(std::move(results));
  const std::lock_guard lock(mutex_);
  if (jobs_ == 0) idle_.notify_all();
  return false;
}

bool ClientPeer::flush(std::chrono::milliseconds timeout, IoDriver* io) {
  std::unique_lock lock(mutex_);
  if (jobs_ == 0) return true;
  ++flushes_;
  lock.unlock();
  io->wake(this);  // a driver with virtual time has to know that somebody waits
  lock.lock();
  const bool idle = idle_.wait_for(lock, timeout, [this] { return jobs_ == 0; });
  --flushes_;
  return idle;
}

void ClientPeer::close(IoDriver* io) {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  io->wake(this);
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return jobs_ == 0; });
}

PeerUse ClientPeer::use() {
  PeerUse use;
  std::set<const void*> handlers;
  for (const auto& [token, pending] : pending_) {
    if (pending.waiter == nullptr) continue;
    use.waited_for = true;
    if (pending.from_handler) handlers.insert(pending.waiter);
  }
  use.blocked_handlers = handlers.size();
  const std::lock_guard lock(mutex_);
  if (jobs_ > 0 && (flushes_ > 0 || closing_)) use.waited_for = true;
  return use;
}

void ClientPeer::log(std::string_view line) {
  if (log_) log_(line);
}

}  // namespace jobq
