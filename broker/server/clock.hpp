// The broker's clocks (libjobq/base/time.hpp): the engine clock continues where the store's last batch left it, plus the
// wall time that passed while the broker was down, and runs with the monotonic clock from there. A wall clock that
// jumps while the broker runs is noticed, told and otherwise ignored.
//
// Not thread-safe. Milliseconds.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "libjobq/base/time.hpp"

namespace jobq {

struct ClockJump {
  DurationMs by;   // of the wall clock against the monotonic one; negative: backwards
  TimeMs noticed;  // engine clock
};

class ServerClock {
 public:
  // What the machine's clocks say, in milliseconds: Unix time, and a count that only ever rises.
  struct Source {
    std::function<std::int64_t()> wall_ms;
    std::function<std::int64_t()> steady_ms;
  };
  static Source system();

  // last: the reading written with the store's last batch; zero for a new store.
  ServerClock(const Now& last, Source source);

  // Never before an earlier reading. Once per turn.
  Now read();

  // Wall time that passed since the last batch, as taken over at the start.
  [[nodiscard]] DurationMs down_for() const { return down_for_; }
  // What was odd at the start, for the log; empty when nothing was.
  [[nodiscard]] const std::string& start_warning() const { return start_warning_; }
  // The newest jump, once per jump.
  std::optional<ClockJump> take_jump();
  [[nodiscard]] const std::optional<ClockJump>& last_jump() const { return last_jump_; }

 private:
  Source source_;
  std::int64_t steady_at_start_;
  TimeMs engine_at_start_;
  TimeMs newest_;
  std::int64_t offset_ = 0;  // wall - engine at the last reading
  DurationMs down_for_;
  std::string start_warning_;
  std::optional<ClockJump> last_jump_;
  bool jump_is_new_ = false;
};

}  // namespace jobq
