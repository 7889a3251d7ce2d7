#include "testing/world.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stop_token>
#include <utility>

namespace jobq::testing {
namespace {

// As IoThread's, so that reconnecting takes as long as it does outside.
constexpr std::int64_t kConnectMs = 100;
constexpr std::int64_t kConnectMaxMs = 2000;

std::int64_t wall_ms(WallTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

}  // namespace

World::World(const BrokerOptions& options)
    : patience_(options.patience),
      broker_(&wire_, &now_, wall_ms(options.start_at) - kBeginning.ms, options.seed) {
  broker_.start();
  thread_ = std::thread([this] { loop(); });
}

World::~World() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  signal();
  thread_.join();
}

// ---- from other threads

Status World::add(const std::shared_ptr<IoPeer>& peer, const std::string& /*endpoint*/) {
  {
    const std::lock_guard lock(mutex_);
    Driven driven;
    driven.peer = peer;
    added_.push_back(std::move(driven));
    ++added_total_;
  }
  signal();
  return {};
}

void World::remove(const IoPeer* peer, int /*linger_ms*/) {
  std::unique_lock lock(mutex_);
  removals_.push_back(peer);
  const std::uint64_t mine = ++removals_asked_;
  lock.unlock();
  signal();
  lock.lock();
  for_others_.wait(lock, [&] { return removals_done_ >= mine; });
}

void World::wake(const IoPeer* peer) {
  {
    const std::lock_guard lock(mutex_);
    woken_.push_back(peer);
  }
  signal();
}

void World::signal() {
  {
    const std::lock_guard lock(mutex_);
    signalled_ = true;
  }
  for_world_.notify_one();
  for_others_.notify_all();
}

void World::order(const std::function<void()>& what) {
  Order order{&what};
  {
    const std::lock_guard lock(mutex_);
    orders_.push_back(&order);
  }
  signal();
  std::unique_lock lock(mutex_);
  for_others_.wait(lock, [&] { return order.done; });
}

Status World::advance(DurationMs span) {
  Wait wait{now() + span, false, {}};
  {
    const std::lock_guard lock(mutex_);
    waits_.push_back(&wait);
  }
  signal();
  std::unique_lock lock(mutex_);
  for_others_.wait(lock, [&] { return wait.done; });
  return wait.status;
}

bool World::sleep(DurationMs span, const std::stop_token& stop) {
  Sleeper sleeper{now() + span};
  {
    // Before it counts as asleep: a stop must find it. Triggered on the world's thread, and from then on the handler counts as
    // running again.
    const std::stop_callback stopped(stop, [&] {
      const std::lock_guard guard(mutex_);
      if (sleeper.awake) return;
      sleeper.awake = sleeper.stopped = true;
      sleepers_.remove(&sleeper);
      for_others_.notify_all();
    });
    {
      const std::lock_guard lock(mutex_);
      if (!sleeper.awake) sleepers_.push_back(&sleeper);
    }
    signal();
    std::unique_lock lock(mutex_);
    for_others_.wait(lock, [&] { return sleeper.awake; });
  }
  return !sleeper.stopped;
}

std::uint64_t World::peers_added() const {
  const std::lock_guard lock(mutex_);
  return added_total_;
}

bool World::wait_for_peer(std::uint64_t count, const std::function<bool()>& given_up) {
  std::unique_lock lock(mutex_);
  return for_others_.wait_for(lock, patience_, [&] { return added_total_ > count || given_up(); });
}

void World::look_again() { signal(); }

// ---- the world's thread

void World::loop() {
  for (;;) {
    take_orders();
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
    if (do_what_is_due()) continue;
    if (run_one_order()) continue;
    const Survey found = survey();
    if (found.unread) continue;
    if (found.handlers_running > 0) {
      wait_for_signal(true);
      continue;
    }
    if (end_waits() || move_time(found.somebody_waits)) continue;
    wait_for_signal(false);
  }
}

void World::take_orders() {
  const std::lock_guard lock(mutex_);
  signalled_ = false;
  for (Driven& driven : added_) driven_.push_back(std::move(driven));
  added_.clear();
  for (const IoPeer* peer : std::exchange(woken_, {})) {
    for (Driven& driven : driven_) driven.due = driven.due || driven.peer.get() == peer;
  }
  for (const IoPeer* peer : std::exchange(removals_, {})) {
    std::erase_if(driven_, [&](const Driven& driven) {
      if (driven.peer.get() != peer) return false;
      wire_.cut(driven.line);
      return true;
    });
    ++removals_done_;
    for_others_.notify_all();
  }
}

bool World::do_what_is_due() {
  bool did = false;
  for (Driven& driven : driven_) did = turn_if_due(&driven) || did;
  if (broker_.running() && (wire_.has_arrived_at_broker() || broker_.deadline() <= now_)) {
    broker_.turn();
    did = true;
  }
  return did;
}

bool World::turn_if_due(Driven* driven) {
  const bool connected = driven->line.value != 0;
  const auto deadline = driven->peer->core().next_deadline();
  const bool lost = connected && !wire_.is_up(driven->line);
  const bool connects = !connected && broker_.running() && !unreachable_ && driven->connect_at <= now_;
  if (!driven->due && !lost && !connects && !(deadline && *deadline <= now_) &&
      !wire_.has_arrived_at(driven->line))
    return false;
  turn(driven);
  return true;
}

void World::turn(Driven* driven) {
  PeerCore& core = driven->peer->core();
  driven->due = false;
  driven->peer->before_turn(now_);
  if (driven->line.value == 0 && broker_.running() && !unreachable_ && driven->connect_at <= now_) {
    driven->line = wire_.connect();
    core.connected(now_);
  }
  std::string frame;
  while (wire_.receive(driven->line, &frame))
    core.receive(lapse_.to_peer(driven->line, std::move(frame)), now_);
  if (driven->line.value != 0 && !wire_.is_up(driven->line)) connection_lost(driven);
  if (core.link().up()) driven->pause_ms = 0;
  do {
    core.tick(now_);
  } while (driven->peer->after_turn(now_));
  for (Frame& sent : core.link().take_frames()) {
    wire_.to_broker(driven->line, lapse_.to_broker(driven->line, std::move(sent).take()));
  }
  if (driven->peer->turn_ended()) driven->due = true;
  if (!core.link().take_reconnect()) return;
  wire_.cut(driven->line);
  connection_lost(driven);
}

void World::connection_lost(Driven* driven) {
  driven->line = {};
  driven->peer->core().disconnected(now_);
  driven->pause_ms = std::clamp(driven->pause_ms * 2, kConnectMs, kConnectMaxMs);
  driven->connect_at = now_ + DurationMs{driven->pause_ms};
  driven->due = true;
}

bool World::run_one_order() {
  std::unique_lock lock(mutex_);
  if (orders_.empty()) return false;
  Order* order = orders_.front();
  orders_.pop_front();
  lock.unlock();
  (*order->what)();
  lock.lock();
  order->done = true;
  for_others_.notify_all();
  return true;
}

// A thread that has handed a call over may be interrupted before it wakes its peer, and counts as waiting by then: the peer gets
// its turn first, or time would be moved past the call's deadline before the core knows of the call.
World::Survey World::survey() {
  Survey found;
  std::size_t running = 0, resting = 0;
  for (Driven& driven : driven_) {
    const PeerUse use = driven.peer->use();
    running += use.handlers;
    resting += use.blocked_handlers;
    found.somebody_waits = found.somebody_waits || use.waited_for;
    found.unread = found.unread || use.unread;
    driven.due = driven.due || use.unread;
  }
  const std::lock_guard lock(mutex_);
  resting += sleepers_.size();
  found.handlers_running = running - std::min(running, resting);
  return found;
}

// Those who wanted no more than this instant.
bool World::end_waits() {
  const std::lock_guard lock(mutex_);
  if (signalled_) return true;  // something came in meanwhile: not quiet yet
  const std::size_t before = waits_.size();
  waits_.remove_if([this](Wait* wait) {
    if (wait->until > now_) return false;
    wait->done = true;
    return true;
  });
  if (waits_.size() == before) return false;
  for_others_.notify_all();
  return true;
}

bool World::move_time(bool somebody_waits) {
  std::optional<TimeMs> next = next_instant();
  const std::lock_guard lock(mutex_);
  if (!waits_.empty()) {
    for (const Wait* wait : waits_) next = earlier(next, wait->until);
  } else if (!somebody_waits || !next) {
    return false;
  }
  now_ = std::max(now_, *next);
  published_now_.store(now_.ms);
  for (auto each = sleepers_.begin(); each != sleepers_.end();) {
    Sleeper* sleeper = *each++;
    if (sleeper->until > now_) continue;
    sleeper->awake = true;
    sleepers_.remove(sleeper);
  }
  for_others_.notify_all();
  return true;
}

std::optional<TimeMs> World::next_instant() {
  std::optional<TimeMs> next = wire_.next_arrival();
  if (broker_.running()) next = earlier(next, broker_.deadline());
  for (const Driven& driven : driven_) {
    next = earlier(next, driven.peer->core().next_deadline());
    const bool may_connect = broker_.running() && !unreachable_;
    if (driven.line.value == 0 && may_connect) next = earlier(next, driven.connect_at);
  }
  const std::lock_guard lock(mutex_);
  for (const Sleeper* sleeper : sleepers_) next = earlier(next, sleeper->until);
  return next;
}

void World::wait_for_signal(bool for_handlers) {
  std::unique_lock lock(mutex_);
  if (!for_handlers || waits_.empty()) {
    for_world_.wait(lock, [this] { return signalled_; });
    return;
  }
  if (for_world_.wait_for(lock, patience_, [this] { return signalled_; })) return;
  for (Wait* wait : waits_) {
    wait->status =
        Status(Code::timed_out,
               fmt::format("a handler runs for more than {} s of real time, and time does not move on while "
                           "one runs: let it take its time by Broker::work_for(), or end it before advance()",
                           std::chrono::duration<double>(patience_).count()));
    wait->done = true;
  }
  waits_.clear();
  for_others_.notify_all();
}

// ---- within order()

void World::unreachable(bool on) {
  unreachable_ = on;
  if (on) wire_.cut_all();
}

void World::restart() {
  if (!broker_.running()) broker_.start();
}

}  // namespace jobq::testing
