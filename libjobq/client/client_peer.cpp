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

namespace {

// A group of so many bytes is encoded before the mutex is taken, for a message of its own.
constexpr std::size_t kEncodeApart = std::size_t{64} << 10;

constexpr std::size_t kSpares = 8;

void encode(const ClientPeer::Submission& submission, std::size_t bytes, TimeMs deadline,
            EncodedGroups* groups) {
  groups->begin(submission.queue, submission.jobs.size(), bytes + submission.queue.size());
  for (const CheckedJob& job : submission.jobs) groups->add(job.view());
  groups->end(0, deadline, submission.timeout);
}

}  // namespace

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

// REQUIRES: the mutex is held, and there is room.
void ClientPeer::take_in(Submission* submission, std::size_t bytes, TimeMs deadline, EncodedGroups* large) {
  const std::size_t jobs = submission->jobs.size();
  jobs_ += jobs;
  bytes_ += bytes;
  const std::uint64_t token =
      remember({std::move(submission->done), bytes, jobs, submission->waiter, on_handler_thread()});
  const bool is_full =
      filling_.jobs() + jobs > ProducerCore::kPackJobs || filling_.bytes() + bytes > ProducerCore::kPackBytes;
  if (!filling_.empty() && (is_full || !large->empty())) {
    full_.push_back(std::move(filling_));
    filling_ = take_spare();
  }
  if (!large->empty()) {
    large->groups().front().token = token;
    full_.push_back(std::move(*large));
  } else {
    encode(*submission, bytes, deadline, &filling_);
    filling_.groups().back().token = token;
  }
}

// REQUIRES: the mutex is held.
EncodedGroups ClientPeer::take_spare() {
  if (spare_.empty()) return {};
  EncodedGroups groups = std::move(spare_.back());
  spare_.pop_back();
  return groups;
}

// What is in the inbox stays there until the next turn, when that sends nothing sooner and knows of no earlier deadline.
// REQUIRES: the mutex is held.
ClientPeer::Wish ClientPeer::note(std::size_t bytes, TimeMs deadline, bool real_time) {
  const Inbox before = inbox_;
  others_wait_.store(true, std::memory_order_relaxed);
  ++inbox_.groups;
  inbox_.bytes += bytes;
  inbox_.deadline = std::min(inbox_.deadline, deadline);
  const bool first = before.groups == 0;
  if (!real_time) return first ? Wish::turn : Wish::nothing;
  if (first && needs_.idle) return Wish::send;
  if (first && needs_.at_once) return Wish::turn;
  if (before.groups < needs_.groups && inbox_.groups >= needs_.groups) return Wish::turn;
  if (before.bytes < needs_.bytes && inbox_.bytes >= needs_.bytes) return Wish::turn;
  const bool unknown = inbox_.deadline < next_turn_ && inbox_.deadline < before.deadline;
  return unknown ? Wish::turn : Wish::nothing;
}

// REQUIRES: the mutex is held.
std::uint64_t ClientPeer::remember(Pending pending) {
  if (free_.empty()) {
    pending_.push_back(std::move(pending));
    return pending_.size() - 1;
  }
  const std::uint64_t token = free_.back();
  free_.pop_back();
  pending_[token] = std::move(pending);
  return token;
}

void ClientPeer::submit(std::span<Submission> submissions, IoDriver* io) {
  std::vector<std::pair<Submission*, Status>> refused;
  Wish wish = Wish::nothing;
  const TimeMs now = io->deadline_base(others_wait_.load(std::memory_order_relaxed));
  const bool real_time = io->is_real_time();
  for (Submission& submission : submissions) {
    const TimeMs deadline = now + submission.timeout;
    std::size_t bytes = 0;
    for (const CheckedJob& job : submission.jobs) bytes += job.wire_bytes();
    EncodedGroups large;
    if (bytes >= kEncodeApart) {
      {
        const std::lock_guard lock(mutex_);
        large = take_spare();
      }
      encode(submission, bytes, deadline, &large);
    }
    const std::lock_guard lock(mutex_);
    if (Status room = room_for(submission.jobs.size(), bytes); room.ok()) {
      take_in(&submission, bytes, deadline, &large);
      wish = std::max(wish, note(bytes, deadline, real_time));
    } else {
      refused.emplace_back(&submission, std::move(room));
    }
  }
  if (wish == Wish::send) io->drive(this);
  if (wish == Wish::turn) io->wake(this);
  for (const auto& [submission, status] : refused) {
    submission->done(Results(submission->jobs.size(), EnqueueResult{Outcome::refused, status}));
  }
}

void ClientPeer::submit_admin(AdminCall call, AdminDone done, IoDriver* io) {
  std::unique_lock lock(mutex_);
  if (closing_) {
    lock.unlock();
    return done(Status(Code::closed, "the client is closed"));
  }
  call.token = next_admin_token_++;
  admin_inbox_.emplace_back(std::move(call), std::move(done));
  lock.unlock();
  io->wake(this);
}

void ClientPeer::before_turn(TimeMs /*now*/) {
  std::vector<std::pair<AdminCall, AdminDone>> calls;
  bool closing = false;
  {
    const std::lock_guard lock(mutex_);
    taken_full_.swap(full_);
    std::swap(taken_, filling_);
    inbox_ = {};
    others_wait_.store(false, std::memory_order_relaxed);
    calls.swap(admin_inbox_);
    closing = closing_taken_ = closing_;
  }
  for (EncodedGroups& groups : taken_full_) core_.producer().submit(&groups);
  core_.producer().submit(&taken_);
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
  if (connected_.load(std::memory_order_relaxed) != core_.link().up()) connected_.store(core_.link().up());
  for (AdminCompletion& completion : core_.admin().take_completions()) {
    auto found = admin_pending_.extract(completion.token);
    if (!found.empty()) found.mapped()(std::move(completion.document));
  }
  std::vector<Completion> completions = core_.producer().take_completions();
  if (completions.empty()) return false;
  ended_.reserve(completions.size());
  {
    const std::lock_guard lock(mutex_);
    for (Completion& completion : completions) {
      Pending& pending = pending_[completion.token];
      jobs_ -= pending.jobs;
      bytes_ -= pending.bytes;
      ended_.emplace_back(std::move(pending.done), std::move(completion.results));
      pending = {};
      free_.push_back(completion.token);
    }
  }
  for (auto& [done, results] : ended_) done(std::move(results));
  ended_.clear();
  const std::lock_guard lock(mutex_);
  if (jobs_ == 0) idle_.notify_all();
  return false;
}

bool ClientPeer::turn_ended() {
  const ProducerCore::Needs needs = core_.producer().needs();
  const TimeMs next_turn = core_.next_deadline().value_or(kNever);
  const std::lock_guard lock(mutex_);
  for (EncodedGroups& groups : taken_full_) {
    if (groups.capacity() > 0 && spare_.size() < kSpares) spare_.push_back(std::move(groups));
  }
  taken_full_.clear();
  needs_ = needs;
  next_turn_ = next_turn;
  if (inbox_.groups == 0) return false;
  return needs.at_once || inbox_.groups >= needs.groups || inbox_.bytes >= needs.bytes ||
         inbox_.deadline < next_turn;
}

bool ClientPeer::has_outputs() {
  return core_.producer().has_completions() || core_.admin().has_completions();
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
  const std::lock_guard lock(mutex_);
  for (const Pending& pending : pending_) {
    if (pending.jobs == 0 || pending.waiter == nullptr) continue;
    use.waited_for = true;
    if (pending.from_handler) handlers.insert(pending.waiter);
  }
  use.blocked_handlers = handlers.size();
  if (jobs_ > 0 && (flushes_ > 0 || closing_)) use.waited_for = true;
  use.unread = inbox_.groups > 0 || !admin_inbox_.empty() || (closing_ && !closing_taken_);
  return use;
}

void ClientPeer::log(std::string_view line) {
  if (log_) log_(line);
}

}  // namespace jobq
