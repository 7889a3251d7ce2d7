// What the store was made to keep, change by change, in the plainest form: written down for the judge as the broker's own
// lines of the history (made, ready, granted, returned, died, left), and counted again to be compared with what the engine
// counts (I12, at every commit).
//
// Outlives the broker's processes. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "broker/engine/change.hpp"
#include "tests/faults/checker.hpp"
#include "tests/sim/chronicle.hpp"

namespace jobq::sim {

class Ledger {
 public:
  explicit Ledger(Chronicle* chronicle) : chronicle_(chronicle) {}

  // A batch that is durable now.
  void enter(std::span<const Change> changes, const Mark& mark);

  // The store was made to fail.
  void note_fault(const char* what);

  // Jobs that are ready, scheduled or leased.
  [[nodiscard]] std::uint64_t live() const { return live_; }
  [[nodiscard]] std::uint64_t made() const { return jobs_.size(); }
  [[nodiscard]] std::uint64_t dead() const { return dead_; }
  [[nodiscard]] std::uint64_t batches() const { return batches_; }
  [[nodiscard]] const Mark& mark() const { return mark_; }
  // A job in that state, if there is one: the next at or behind a number, or else the first.
  [[nodiscard]] JobId some_job(JobState state, std::uint64_t number) const;
  // The queues with jobs in these states, for the text about a run that does not end.
  [[nodiscard]] std::string what_is_left() const;
  [[nodiscard]] const std::vector<faults::Violation>& violations() const { return violations_; }
  [[nodiscard]] const std::string& queue_name(QueueNo queue) const { return queues_.at(queue); }

 private:
  struct Job {
    QueueNo queue = 0;
    JobState state = JobState::ready;
  };

  void enter(const change::Enqueue& enqueue);
  void enter(const change::Lease& lease);
  void enter(const change::Finish& finish);
  void enter(const change::Return& back);
  void enter(const change::Due& due);
  void enter(const change::Die& die);
  void enter(const change::Redrive& redrive);
  void enter(const change::Reschedule& change);
  void enter(const change::RemoveQueue& remove);
  void enter(const change::PutTask& task);
  void enter(const change::RemoveTask& task);
  void enter(const change::PutQueue& put);
  void enter(const change::PutType& put);
  template <typename Other>
  void enter(const Other& /*other*/) {}  // moves no job

  void compare(const change::PutCounters& put);
  void move(JobId job, JobState to);
  void write(const char* op, JobId job, const char* state, LeaseNo lease_no = 0, SessionNo session = {});
  void write_task(const char* op, std::uint64_t task, QueueNo queue);
  void wrong(JobId job, std::string text);

  Chronicle* chronicle_;
  std::map<JobId, Job> jobs_;
  std::map<QueueNo, std::string> queues_;
  std::map<TypeNo, std::string> types_{{0, ""}};
  std::map<QueueNo, std::map<JobState, std::uint64_t>> counts_;
  std::map<JobState, std::set<JobId>> waiting_;  // ready, scheduled, dead
  std::map<std::uint64_t, QueueNo> tasks_;       // that go on after a restart
  std::map<QueueNo, QueueCounters> last_counters_;
  std::uint64_t live_ = 0, dead_ = 0, batches_ = 0;
  Mark mark_;
  std::vector<faults::Violation> violations_;
};

}  // namespace jobq::sim
