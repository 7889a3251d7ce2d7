// What an enqueue was answered, as it is remembered for a resend. Nearly always it is one run of jobs that were made with
// ids in a row, which is kept as its first and its length: nothing is allocated for it, however many jobs it has.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "broker/engine/types.hpp"
#include "libjobq/protocol/message.hpp"

namespace jobq {

class AnsweredJobs {
 public:
  AnsweredJobs() = default;
  explicit AnsweredJobs(const std::vector<protocol::EnqueueResult>& results) {
    if (results.empty()) return;
    first_ = results.front();
    std::uint64_t distance = 0;
    const bool in_a_row =
        first_ == created(first_.state, first_.id) &&
        std::all_of(results.begin(), results.end(),
                    [&](const protocol::EnqueueResult& result) { return result == after_first(distance++); });
    run_ = in_a_row ? results.size() : 0;
    if (!in_a_row) others_ = results;
  }
  static AnsweredJobs run(JobState state, JobId first, std::size_t count) {
    AnsweredJobs made;
    made.first_ = created(state, first);
    made.run_ = count;
    return made;
  }

  [[nodiscard]] std::size_t size() const { return run_ > 0 ? run_ : others_.size(); }
  [[nodiscard]] bool is_run() const { return run_ > 0; }
  // REQUIRES: is_run().
  [[nodiscard]] const protocol::EnqueueResult& first() const { return first_; }
  // One per job, in the order of the request.
  [[nodiscard]] std::vector<protocol::EnqueueResult> all() const {
    if (run_ == 0) return others_;
    std::vector<protocol::EnqueueResult> results;
    results.reserve(run_);
    for (std::uint64_t i = 0; i < run_; ++i) results.push_back(after_first(i));
    return results;
  }

 private:
  static protocol::EnqueueResult created(JobState state, JobId id) {
    return {.outcome = protocol::EnqueueOutcome::created, .id = id, .state = state};
  }
  [[nodiscard]] protocol::EnqueueResult after_first(std::uint64_t distance) const {
    protocol::EnqueueResult result = first_;
    result.id.value += distance;
    return result;
  }

  protocol::EnqueueResult first_;  // of the run
  std::size_t run_ = 0;            // 0: not one run, but others_
  std::vector<protocol::EnqueueResult> others_;
};

}  // namespace jobq
