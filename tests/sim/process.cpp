#include "tests/sim/process.hpp"

#include <algorithm>
#include <utility>

namespace jobq::sim {
namespace {

// As libjobq/io_thread.cpp has them.
constexpr std::int64_t kReopenMs = 100, kReopenMaxMs = 2'000;
constexpr int kFramesPerTurn = 256;

}  // namespace

Process::Process(const Stage& stage, std::string name, Prng prng)
    : stage_(stage), prng_(prng), name_(std::move(name)), clock_ahead_ms_(prng_.between(0, 1'000'000)) {}

Process::~Process() {
  *alive_ = false;
  if (socket_ != 0) stage_.network->close(socket_);
}

void Process::start() {
  socket_ = stage_.network->open(this);
  woken();
}

void Process::wake_at(TimeMs time) {
  const TimeMs at = std::max({time, frozen_until_, stage_.timeline->now()});
  if (at >= planned_) return;
  planned_ = at;
  stage_.timeline->at(at, [this, alive = alive_, plan = ++plan_] {
    if (!*alive || plan != plan_) return;
    planned_ = kNever;
    if (frozen()) return wake_at(frozen_until_);
    turn();
  });
}

void Process::broken() { write(happened("lost", faults::EventType::info)); }

void Process::stalled(DurationMs span) {
  faults::Event event = happened("stalled", faults::EventType::info);
  event.within_ms = span.ms;
  write(std::move(event));
}

void Process::freeze(DurationMs span, bool hung) {
  frozen_until_ = stage_.timeline->now() + span;
  faults::Event event = happened("frozen", faults::EventType::info);
  event.within_ms = span.ms;
  write(std::move(event));
  if (!hung && socket_ != 0) stage_.network->stop_answering(socket_, span);
  planned_ = kNever;
  wake_at(frozen_until_);
}

void Process::thaw() {
  frozen_until_ = {};
  planned_ = kNever;
  woken();
}

void Process::turn() {
  const TimeMs now = local(stage_.timeline->now());
  before_turn(now);
  if (reopen_at_.is_set() && reopen_at_ <= now) {
    reopen_at_ = {};
    socket_ = stage_.network->open(this);
  }
  read(now);
  core().tick(now);
  after_turn(now);
  Link& link = core().link();
  for (Frame& sent : link.take_frames()) {
    std::string frame = std::move(sent).take();
    stage_.chronicle->mix_in(frame);
    if (socket_ != 0) stage_.network->send(socket_, std::move(frame));
  }
  if (link.take_reconnect()) lost(now);
  TimeMs next = wants_turn_at();
  if (const auto deadline = core().next_deadline()) next = std::min(next, world(*deadline));
  if (reopen_at_.is_set()) next = std::min(next, world(reopen_at_));
  // A deadline that has passed and is still there is looked at in the next millisecond, not at once for ever.
  if (next != kNever) wake_at(std::max(next, stage_.timeline->now() + DurationMs{1}));
}

void Process::read(TimeMs now) {
  if (socket_ == 0) return;
  const auto receive = [&] {
    auto frame = stage_.network->receive(socket_);
    if (!frame) return false;
    frame_arrived_ = frame->arrived;
    if (up_) core().receive(frame->bytes, now);
    after_turn(now);
    return true;
  };
  int frames = 0;
  while (frames < kFramesPerTurn && receive()) ++frames;
  if (frames == kFramesPerTurn) woken();
  while (const auto event = stage_.network->take_event(socket_)) {
    if (*event == Network::Event::connected && !up_) {
      up_ = true;
      core().connected(now);
    } else if (*event == Network::Event::disconnected) {
      while (receive()) {
      }
      lost(now);
      break;
    }
  }
  if (core().link().up() && !was_greeted_) {
    was_greeted_ = true;
    reopen_ms_ = 0;
  }
}

void Process::lost(TimeMs now) {
  up_ = false;
  was_greeted_ = false;
  core().disconnected(now);
  if (socket_ != 0) stage_.network->close(std::exchange(socket_, 0));
  reopen_ms_ = std::clamp(reopen_ms_ * 2, kReopenMs, kReopenMaxMs);
  reopen_at_ = now + DurationMs{reopen_ms_};
}

}  // namespace jobq::sim
