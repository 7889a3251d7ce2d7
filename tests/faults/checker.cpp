#include "tests/faults/checker.hpp"

#include "tests/faults/job_story.hpp"
#include "tests/faults/rules.hpp"

namespace jobq::faults {

Verdict check_history(const std::vector<Event>& history, const Dump& dump, const CheckerOptions& options) {
  Verdict verdict;
  verdict.events = history.size();
  const Stories stories = sort_by_job(history, dump);
  check_no_loss(stories, &verdict);
  check_no_phantom(stories, &verdict);
  check_intact(stories, &verdict);
  check_ack_is_final(stories, &verdict);
  check_one_lease(stories, options, &verdict);
  check_fencing(stories, &verdict);
  check_attempts(stories, &verdict);
  check_not_early(stories, options, &verdict);
  check_order(stories, &verdict);
  check_reasons(stories, options, &verdict);
  check_unique_keys(stories, &verdict);
  check_counts(stories, dump, &verdict);
  check_idempotent(stories, &verdict);
  check_groups(stories, &verdict);
  check_reads(stories, &verdict);
  check_not_granted(stories, options, &verdict);
  check_exits(stories, history, &verdict);
  check_grants(history, &verdict);
  check_order_of_grants(history, &verdict);
  check_said_after_durable(history, &verdict);
  check_liveness(history, &verdict);
  check_deaths(history, &verdict);
  check_restarts(stories, history, &verdict);
  check_clock(stories, history, options, &verdict);
  check_same_run(history, &verdict);
  check_redriven(stories, history, &verdict);
  check_put_off(stories, history, options, &verdict);
  check_removed(stories, history, &verdict);
  check_drained(stories, history, &verdict);
  check_tasks(stories, history, &verdict);
  return verdict;
}

}  // namespace jobq::faults
