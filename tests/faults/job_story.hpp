// A history sorted by job: what the rules of checker.hpp look at. Points into the history, which must outlive
// it. Not thread-safe; cannot fail: what does not fit together is left for the rules to say.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/faults/history.hpp"

namespace jobq::faults {

inline constexpr std::int64_t kAtNoTime = std::numeric_limits<std::int64_t>::max();

// One operation of one client: its question and its answer.
struct Operation {
  const Event* invoke = nullptr;
  const Event* answer = nullptr;  // nullptr: none came
  [[nodiscard]] bool ok() const { return answer != nullptr && answer->type == EventType::ok; }
  [[nodiscard]] bool failed() const { return answer != nullptr && answer->type == EventType::fail; }
  // Whether it may have been carried out.
  [[nodiscard]] bool possible() const { return !failed(); }
  [[nodiscard]] std::int64_t asked_at() const { return invoke->t; }
  [[nodiscard]] std::int64_t answered_at() const { return answer != nullptr ? answer->t : kAtNoTime; }
  // Whatever it did, it did by then: what was given up may be on its way still.
  [[nodiscard]] std::int64_t over_at() const { return ok() || failed() ? answer->t : kAtNoTime; }
};

struct JobStory {
  std::string job;
  const Operation* enqueue = nullptr;     // the one that made it
  std::vector<const Event*> deliveries;   // by time
  std::vector<const Operation*> settles;  // ack, nack, release, reject, snooze
  std::vector<const Operation*> extends, cancels, gets;
  std::vector<const Operation*> redrives;           // of this job alone; retries among them
  std::vector<const Operation*> retries, put_offs;  // an operator's: now, and later
  std::vector<const Event*> revoked;
  std::map<std::uint32_t, std::int64_t> granted_at, sent_at;  // by token, where the broker's lines are there
  const DumpedJob* stored = nullptr;
  std::int64_t misled_at =
      kAtNoTime;  // the first misled start (below) since its enqueue: it may expire at once then

  [[nodiscard]] bool settled_by(const std::string& op, bool surely) const;
  // An operator may have set another time for it.
  [[nodiscard]] bool rescheduled_between(std::int64_t from, std::int64_t until) const;
  // A large job is on its way for a while: what was granted before it expired, or its queue was paused, may come.
  [[nodiscard]] std::int64_t handed_out_at(const Event& delivery) const;
  // When it may have left at the earliest: the first question that can have ended it.
  [[nodiscard]] std::int64_t may_end_at() const;
};

struct Stories {
  std::vector<Operation> operations;
  std::vector<const Operation*> enqueues;
  std::map<std::string, JobStory> jobs;                                                    // by id
  std::map<std::string, std::vector<const Operation*>> by_hash;                            // enqueues
  std::map<std::string, std::vector<const Operation*>> pauses, resumes, purges, redrives;  // by queue
  std::map<std::string, std::vector<const Operation*>> removals;  // by queue; each is a resume, too
  std::vector<const Operation*> drains, task_cancels;
  std::vector<const Event*> crashes;  // of clients and of the broker
  std::vector<const Event*> counts;   // stats, ok
  // Times at which somebody was cut off or stood still, by who: nobody hears of a lost lease then.
  std::map<std::string, std::vector<const Event*>> losses;
  // Starts of a broker that could not tell a wall clock that was set from time that has passed: it was set after the last
  // commit. Delays and expiries are counted from there with that error.
  std::vector<std::int64_t> misled_starts;
  [[nodiscard]] bool misled_between(std::int64_t from, std::int64_t until) const;
  std::int64_t end = 0;
};

Stories sort_by_job(const std::vector<Event>& history, const std::map<std::string, DumpedJob>& dump);

}  // namespace jobq::faults
