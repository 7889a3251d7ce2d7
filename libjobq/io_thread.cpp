#include "libjobq/io_thread.hpp"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "jobq/error.hpp"
#include "jobq/runtime.hpp"
#include "libjobq/base/check.hpp"

namespace jobq {

namespace {

constexpr std::int64_t kReopenMs = 100;
constexpr std::int64_t kReopenMaxMs = 2000;
constexpr std::size_t kCrowd = 32;
constexpr int kFramesPerTurn = 256;  // so that one loud broker does not hold up the others

// The runtime whose thread this is, and the one that this thread drives: what a callback or a log sink asks of them is
// done after the turn.
thread_local const IoThread* thread_of = nullptr;
thread_local const IoThread* in_turn_of = nullptr;

TimeMs coarse_now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
  return TimeMs{time.tv_sec * 1000 + time.tv_nsec / 1'000'000 + 1};
}

std::int64_t coarse_step_ms() {
  timespec step{};
  ::clock_getres(CLOCK_MONOTONIC_COARSE, &step);
  return step.tv_sec * 1000 + step.tv_nsec / 1'000'000 + 1;
}

int make_wake_fd() {
  const int made = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (made < 0) throw Error(Code::io_error, fmt::format("eventfd: {}", std::strerror(errno)));
  return made;
}

}  // namespace

TimeMs monotonic_now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return TimeMs{std::chrono::duration_cast<std::chrono::milliseconds>(since).count() + 1};
}

IoThread::IoThread() : wake_fd_(make_wake_fd()), poll_(wake_fd_) {
  thread_ = std::thread([this] { loop(); });
}

IoThread::~IoThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  signal();
  thread_.join();
  ::close(wake_fd_);
}

Status IoThread::add(const std::shared_ptr<IoPeer>& peer, const std::string& endpoint) {
  auto driven = std::make_unique<Driven>();
  driven->peer = peer;
  driven->channel = std::make_unique<Channel>(&context_, endpoint);
  if (Status opened = driven->channel->open(); !opened.ok()) return opened;
  {
    const std::lock_guard lock(mutex_);
    added_.push_back(std::move(driven));
  }
  signal();
  return {};
}

void IoThread::remove(const IoPeer* peer, int linger_ms) {
  std::unique_lock lock(mutex_);
  removals_.push_back({peer, linger_ms});
  const std::size_t mine = ++removals_asked_;
  lock.unlock();
  signal();
  lock.lock();
  removed_.wait(lock, [&] { return removals_done_ >= mine; });
}

void IoThread::wake(const IoPeer* peer) {
  {
    const std::lock_guard lock(mutex_);
    if (!woken_.insert(peer).second) return;
  }
  signal();
}

// A reading of now() may be a millisecond ahead of the clock when a deadline is compared with it.
TimeMs IoThread::deadline_base(bool many) const {
  static const DurationMs step{coarse_step_ms()};
  return many ? coarse_now() + step : monotonic_now() + DurationMs{1};
}

void IoThread::drive(const IoPeer* peer) {
  if (!drive_now(peer)) wake(peer);
}

// Not while a deadline has passed: what waits in the sockets is read before anything is given up for being late, and that
// is the thread's part.
bool IoThread::drive_now(const IoPeer* peer) noexcept {
  if (thread_of == this || in_turn_of == this) return false;
  const std::unique_lock turn(turn_mutex_, std::try_to_lock);
  if (!turn.owns_lock()) return false;
  const auto found = driven_.find(peer);
  if (found == driven_.end() || !found->second->up || found->second->due) return false;
  const TimeMs now = monotonic_now();
  if (now >= sleeps_until_ || (!deadlines_.empty() && deadlines_.begin()->first <= now)) return false;
  Driven* driven = found->second.get();
  const IoThread* const before = std::exchange(in_turn_of, this);
  driven->peer->before_turn(now);
  driven->peer->core().tick(now);
  write(driven, now);
  keep_deadline(driven);
  const bool more = driven->peer->turn_ended();
  if (more || driven->peer->has_outputs()) mark_due(driven);
  in_turn_of = before;
  const bool earlier = !deadlines_.empty() && deadlines_.begin()->first < sleeps_until_;
  if (!due_.empty() || earlier) signal();
  return true;
}

// The thread itself looks at `signalled_` before it sleeps.
void IoThread::signal() {
  if (signalled_.exchange(true) || thread_of == this) return;
  const std::uint64_t one = 1;
  while (::write(wake_fd_, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

bool IoThread::take_orders() {
  // Who signals sets `signalled_` first and writes later: what is written after this is read the next time.
  if (std::exchange(wake_reported_, false)) {
    std::uint64_t count = 0;
    while (::read(wake_fd_, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
  }
  if (signalled_.load()) signalled_.store(false);
  const std::lock_guard lock(mutex_);
  if (stopping_) return false;
  for (auto& driven : std::exchange(added_, {})) begin(std::move(driven));
  for (const IoPeer* peer : woken_) {
    if (const auto found = driven_.find(peer); found != driven_.end()) mark_due(found->second.get());
  }
  woken_.clear();
  if (removals_.empty()) return true;
  for (const Removal& removal : std::exchange(removals_, {})) {
    end(removal);
    ++removals_done_;
  }
  removed_.notify_all();
  return true;
}

void IoThread::begin(std::unique_ptr<Driven> driven) {
  Driven* begun = driven.get();
  const bool fresh = driven_.emplace(begun->peer.get(), std::move(driven)).second;
  JOBQ_CHECK(fresh, "a peer was added twice");
  poll_.add(*begun->channel, begun);
  mark_due(begun);
}

void IoThread::end(const Removal& removal) {
  const auto found = driven_.find(removal.peer);
  if (found == driven_.end()) return;
  Driven* ended = found->second.get();
  close(ended, removal.linger_ms);
  if (ended->due) std::erase(due_, ended);
  if (ended->deadline) deadlines_.erase({*ended->deadline, ended});
  driven_.erase(found);
}

void IoThread::loop() {
  std::unique_lock turn(turn_mutex_);
  thread_of = this;
  while (take_orders()) {
    const TimeMs now = monotonic_now();
    mark_deadlines(now);
    turns_.swap(due_);
    for (Driven* driven : turns_) this->turn(driven, now);
    turns_.clear();
    const TimeMs before_sleep = monotonic_now();
    const std::int64_t wait = wait_ms(before_sleep);
    sleeps_until_ = wait < 0 ? kNever : before_sleep + DurationMs{wait};
    turn.unlock();
    poll_.wait(wait, &ready_);
    turn.lock();
    sleeps_until_ = {};
    for (const ChannelPoll::Ready& ready : ready_) {
      if (ready.owner == nullptr) {
        wake_reported_ = true;
        continue;
      }
      auto* driven = static_cast<Driven*>(ready.owner);
      (ready.is_event ? driven->has_events : driven->has_frames) = true;
      mark_due(driven);
    }
  }
}

void IoThread::mark_due(Driven* driven) {
  if (driven->due) return;
  driven->due = true;
  due_.push_back(driven);
}

void IoThread::mark_deadlines(TimeMs now) {
  for (const auto& [deadline, driven] : deadlines_) {
    if (deadline > now) return;
    mark_due(driven);
  }
}

std::int64_t IoThread::wait_ms(TimeMs now) const {
  if (!due_.empty() || signalled_.load()) return 0;
  if (deadlines_.empty()) return -1;
  return std::clamp<std::int64_t>((deadlines_.begin()->first - now).ms, 0, 60'000);
}

void IoThread::keep_deadline(Driven* driven) {
  std::optional<TimeMs> next = driven->peer->core().next_deadline();
  if (driven->reopen_at.is_set()) next = earlier(next, driven->reopen_at);
  if (next == driven->deadline) return;
  auto entry =
      driven->deadline ? deadlines_.extract({*driven->deadline, driven}) : decltype(deadlines_)::node_type{};
  driven->deadline = next;
  if (!next) return;
  if (entry.empty()) {
    deadlines_.emplace(*next, driven);
  } else {
    entry.value().first = *next;
    deadlines_.insert(std::move(entry));
  }
}

void IoThread::turn(Driven* driven, TimeMs now) {
  driven->due = false;
  driven->peer->core().crowded(driven_.size() > kCrowd);
  driven->peer->before_turn(now);
  if (driven->reopen_at.is_set() && driven->reopen_at <= now) reopen(driven, now);
  read(driven, now);
  now = monotonic_now();
  do {
    driven->peer->core().tick(now);
  } while (driven->peer->after_turn(now));
  write(driven, now);
  keep_deadline(driven);
  if (driven->peer->turn_ended()) mark_due(driven);
}

void IoThread::read(Driven* driven, TimeMs now) {
  PeerCore& core = driven->peer->core();
  std::string_view frame;
  int frames = 0;
  // The process may have stood still since the turn began.
  const auto frame_now = [now] { return std::max(now, coarse_now()); };
  if (driven->has_frames) {
    while (frames < kFramesPerTurn && driven->channel->receive(&frame)) {
      ++frames;
      if (driven->up) core.receive(frame, frame_now());
    }
    driven->has_frames = frames == kFramesPerTurn;
    if (driven->has_frames) mark_due(driven);
  }
  if (std::exchange(driven->has_events, false)) {
    for (const Channel::Event event : driven->channel->take_events()) {
      if (event == Channel::Event::connected && !driven->up) {
        driven->up = true;
        core.connected(now);
      } else if (event == Channel::Event::disconnected && driven->up) {
        // Frames that came before the end of the connection are still good.
        while (driven->channel->receive(&frame)) core.receive(frame, frame_now());
        lost(driven, now);
        break;
      }
    }
  }
  if (core.link().up() && !driven->was_greeted) {
    driven->was_greeted = true;
    driven->reopen_ms = 0;
    driven->peer->log(fmt::format("connected to the broker at {}", core.link().identity().endpoint));
  }
}

void IoThread::write(Driven* driven, TimeMs now) {
  Link& link = driven->peer->core().link();
  const std::vector<Frame> frames = link.take_frames();
  for (const Frame& frame : frames) {
    if (const Status sent = driven->channel->send(frame); !sent.ok()) {
      link.reconnect();
      break;
    }
  }
  if (!frames.empty() && driven->channel->readable()) {
    driven->has_frames = true;
    mark_due(driven);
  }
  if (!link.take_reconnect()) return;
  lost(driven, now);
}

// Nothing of the old connection survives: the state machine starts over on a new one.
void IoThread::lost(Driven* driven, TimeMs now) {
  if (driven->was_greeted) {
    driven->peer->log(fmt::format("lost the connection to the broker at {}; connecting again",
                                  driven->peer->core().link().identity().endpoint));
  }
  driven->up = false;
  driven->was_greeted = false;
  driven->peer->core().disconnected(now);
  close(driven, 0);
  driven->reopen_ms = std::clamp(driven->reopen_ms * 2, kReopenMs, kReopenMaxMs);
  driven->reopen_at = now + DurationMs{driven->reopen_ms};
}

void IoThread::close(Driven* driven, int linger_ms) {
  poll_.remove(*driven->channel);
  driven->channel->close(linger_ms);
}

void IoThread::reopen(Driven* driven, TimeMs now) {
  driven->reopen_at = {};
  if (const Status opened = driven->channel->open(); !opened.ok()) {
    driven->peer->log(opened.text());
    driven->reopen_at = now + DurationMs{kReopenMaxMs};
    return;
  }
  poll_.add(*driven->channel, driven);
  driven->has_frames = driven->has_events = true;
  mark_due(driven);
}

Runtime::Runtime() : driver_(std::make_shared<IoThread>()) {}
Runtime::Runtime(std::shared_ptr<IoDriver> driver) : driver_(std::move(driver)) {}
Runtime::~Runtime() = default;

}  // namespace jobq
