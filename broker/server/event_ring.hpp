// What happens to jobs, for those who watch: the last events, made from the changes of each commit, so nobody sees what is
// not durable.
//
// Nothing is recorded, and no memory held, unless somebody has asked within the last ten seconds. While somebody does, the
// cost is bounded: at most kPerCommit events of one commit are kept and kEventsMax in all, whoever reads how slowly. What
// is not kept is counted: sequence numbers go on, and a reader is told how many it missed. The broker waits for nobody.
//
// Not thread-safe; used by the server's loop. Time: the engine clock.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "broker/engine/change.hpp"
#include "broker/engine/engine.hpp"

namespace jobq {

struct JobEvent {
  std::uint64_t seq = 0;
  TimeMs at{};
  const char* kind = "";  // kEventKinds
  JobId job{};
  QueueNo queue = 0;
  TypeNo type = 0;
  LeaseNo lease_no = 0;       // 0: none
  std::uint32_t attempt = 0;  // 0: does not apply
  const char* reason = nullptr;
  TimeMs run_at{};
  std::string worker;
  std::string error;  // its beginning
};

inline constexpr const char* kEventKinds[] = {
    "enqueued", "due",  "leased",   "acked",       "failed",  "timed_out", "crashed", "lapsed", "released",
    "snoozed",  "dead", "redriven", "rescheduled", "expired", "cancelled", "purged",  "dropped"};

class EventRing {
 public:
  static constexpr std::size_t kEventsMax = 65'536;
  static constexpr std::size_t kPerCommit = 2'000;
  static constexpr DurationMs kFollowedFor{10'000};

  // Whether anybody follows. Lets go of everything when nobody does any more.
  [[nodiscard]] bool followed(TimeMs now);
  // REQUIRES: followed. engine: after these changes.
  void observe(const std::vector<Change>& changes, const Engine& engine, TimeMs now);

  // Somebody follows, for another ten seconds.
  void follow(TimeMs now);
  // Another one than before: what happened in between was not recorded. 0: nobody follows.
  [[nodiscard]] std::uint64_t stream() const { return stream_; }
  // Oldest first; sequence numbers rise and may have gaps.
  [[nodiscard]] const std::deque<JobEvent>& events() const { return events_; }
  // The number of the last event, kept or not.
  [[nodiscard]] std::uint64_t last() const { return last_; }

 private:
  TimeMs until_{};
  std::uint64_t stream_ = 0;
  std::uint64_t last_ = 0;
  std::deque<JobEvent> events_;
};

}  // namespace jobq
