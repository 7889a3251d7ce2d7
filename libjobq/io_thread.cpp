#include "libjobq/io_thread.hpp"

#include <fmt/format.h>
#include <sys/eventfd.h>
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
constexpr int kFramesPerTurn = 256;  // so that one loud broker does not hold up the others

}  // namespace

TimeMs monotonic_now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return TimeMs{std::chrono::duration_cast<std::chrono::milliseconds>(since).count() + 1};
}

IoThread::IoThread() {
  wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd_ < 0) throw Error(Code::io_error, fmt::format("eventfd: {}", std::strerror(errno)));
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
  Driven driven;
  driven.peer = peer;
  driven.channel = std::make_unique<Channel>(&context_, endpoint);
  if (Status opened = driven.channel->open(); !opened.ok()) return opened;
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
    if (std::find(woken_.begin(), woken_.end(), peer) != woken_.end()) return;
    woken_.push_back(peer);
  }
  signal();
}

void IoThread::signal() {
  if (signalled_.exchange(true)) return;
  const std::uint64_t one = 1;
  while (::write(wake_fd_, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

void IoThread::take_orders() {
  if (signalled_.load()) {
    std::uint64_t count = 0;
    while (::read(wake_fd_, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
    signalled_.store(false);
  }
  const std::lock_guard lock(mutex_);
  for (Driven& driven : added_) driven_.push_back(std::move(driven));
  added_.clear();
  for (const IoPeer* peer : std::exchange(woken_, {})) {
    for (Driven& driven : driven_) driven.due = driven.due || driven.peer.get() == peer;
  }
  if (removals_.empty()) return;
  for (const Removal& removal : std::exchange(removals_, {})) {
    std::erase_if(driven_, [&](Driven& driven) {
      if (driven.peer.get() != removal.peer) return false;
      driven.channel->close(removal.linger_ms);
      return true;
    });
    ++removals_done_;
  }
  removed_.notify_all();
}

void IoThread::loop() {
  std::vector<Channel*> channels;
  for (;;) {
    take_orders();
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
    TimeMs now = monotonic_now();
    for (Driven& driven : driven_) {
      const auto deadline = driven.peer->core().next_deadline();
      const bool reopens = driven.reopen_at.is_set() && driven.reopen_at <= now;
      if (driven.due || reopens || (deadline && *deadline <= now)) turn(&driven, now);
    }
    channels.clear();
    for (Driven& driven : driven_) channels.push_back(driven.channel.get());
    for (const std::size_t ready : ChannelPoll::wait(channels, wake_fd_, wait_ms(monotonic_now()))) {
      driven_[ready].due = true;
    }
  }
}

std::int64_t IoThread::wait_ms(TimeMs now) const {
  std::optional<TimeMs> next;
  for (const Driven& driven : driven_) {
    if (driven.due) return 0;
    next = earlier(next, driven.peer->core().next_deadline());
    if (driven.reopen_at.is_set()) next = earlier(next, driven.reopen_at);
  }
  if (!next) return -1;
  return std::clamp<std::int64_t>((*next - now).ms, 0, 60'000);
}

void IoThread::turn(Driven* driven, TimeMs now) {
  driven->due = false;
  driven->peer->before_turn(now);
  if (driven->reopen_at.is_set() && driven->reopen_at <= now) reopen(driven, now);
  read(driven, now);
  now = monotonic_now();
  do {
    driven->peer->core().tick(now);
  } while (driven->peer->after_turn(now));
  write(driven, now);
}

void IoThread::read(Driven* driven, TimeMs now) {
  PeerCore& core = driven->peer->core();
  std::string frame;
  int frames = 0;
  while (frames < kFramesPerTurn && driven->channel->receive(&frame)) {
    ++frames;
    // The process may have stood still since the turn began.
    if (driven->up) core.receive(frame, monotonic_now());
  }
  if (frames == kFramesPerTurn) driven->due = true;
  for (const Channel::Event event : driven->channel->take_events()) {
    if (event == Channel::Event::connected && !driven->up) {
      driven->up = true;
      core.connected(now);
    } else if (event == Channel::Event::disconnected && driven->up) {
      // Frames that came before the end of the connection are still good.
      while (driven->channel->receive(&frame)) core.receive(frame, monotonic_now());
      lost(driven, now);
      break;
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
  for (const std::string& frame : link.take_frames()) {
    if (const Status sent = driven->channel->send(frame); !sent.ok()) {
      link.reconnect();
      break;
    }
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
  driven->channel->close(0);
  driven->reopen_ms = std::clamp(driven->reopen_ms * 2, kReopenMs, kReopenMaxMs);
  driven->reopen_at = now + DurationMs{driven->reopen_ms};
}

void IoThread::reopen(Driven* driven, TimeMs now) {
  driven->reopen_at = {};
  if (const Status opened = driven->channel->open(); !opened.ok()) {
    driven->peer->log(opened.text());
    driven->reopen_at = now + DurationMs{kReopenMaxMs};
  }
}

Runtime::Runtime() : driver_(std::make_shared<IoThread>()) {}
Runtime::Runtime(std::shared_ptr<IoDriver> driver) : driver_(std::move(driver)) {}
Runtime::~Runtime() = default;

}  // namespace jobq
