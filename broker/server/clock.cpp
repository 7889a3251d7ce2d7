#include "broker/server/clock.hpp"
#include "libjobq/base/planted.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

namespace jobq {
namespace {

constexpr std::int64_t kJumpMs = 5'000;  // less is drift being corrected
constexpr std::int64_t kAbsurdDownMs = 400LL * 24 * 3600 * 1000;

}  // namespace

ServerClock::Source ServerClock::system() {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  return {
      [] { return duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count(); },
      [] {
        return duration_cast<milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
      }};
}

ServerClock::ServerClock(const Now& last, Source source)
    : source_(std::move(source)), steady_at_start_(source_.steady_ms()) {
  const std::int64_t wall = source_.wall_ms();
  if (!last.engine.is_set()) {
    engine_at_start_ = TimeMs{std::max<std::int64_t>(1, wall)};
  } else {
    down_for_ = TimeMs{wall} - last.wall;
    if (down_for_.ms < 0) {
      start_warning_ = fmt::format(
          "the wall clock is {} s behind the last batch of the store; taking it that no time has passed "
          "since then. "
          "Dates given with --at are late by as much: check the machine's time",
          -down_for_.ms / 1000);
      down_for_ = {};
    } else if (down_for_.ms > kAbsurdDownMs) {
      start_warning_ = fmt::format(
          "by the wall clock {} days have passed since the last batch of the store; delays and expiries are "
          "counted "
          "accordingly. If that is not so, stop now, set the machine's time and start again",
          down_for_.ms / (24LL * 3600 * 1000));
    }
    engine_at_start_ = last.engine + down_for_;
  }
  newest_ = engine_at_start_;
  offset_ = wall - engine_at_start_.ms;
}

Now ServerClock::read() {
  const std::int64_t wall = source_.wall_ms();
  newest_ = std::max(newest_, engine_at_start_ + DurationMs{source_.steady_ms() - steady_at_start_});
  if (JOBQ_PLANTED(leases_by_the_wall_clock)) newest_ = std::max(newest_, TimeMs{wall - offset_});
  const std::int64_t offset = wall - newest_.ms;
  if (std::abs(offset - offset_) >= kJumpMs) {
    last_jump_ = ClockJump{DurationMs{offset - offset_}, newest_};
    jump_is_new_ = true;
  }
  offset_ = offset;
  return {newest_, TimeMs{wall}};
}

std::optional<ClockJump> ServerClock::take_jump() {
  if (!jump_is_new_) return std::nullopt;
  jump_is_new_ = false;
  return last_jump_;
}

}  // namespace jobq
