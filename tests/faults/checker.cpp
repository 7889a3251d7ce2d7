#include "tests/faults/checker.hpp"

#include <fmt/format.h>

#include <algorithm>

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
  return verdict;
}

std::string report(const Verdict& verdict, const std::vector<Event>& history, const Dump& dump) {
  std::string text = fmt::format(
      "{} events: {} confirmed, {} unknown ({} recovered), {} lost, {} phantom, {} acked, {} deliveries ({} "
      "jobs "
      "more than once), {} in the store\n",
      verdict.events, verdict.confirmed, verdict.unknown, verdict.recovered, verdict.lost, verdict.phantom,
      verdict.acked, verdict.delivered, verdict.run_again, verdict.in_store);
  if (verdict.ok()) return text + "no invariant is violated\n";
  text += fmt::format("{} violations", verdict.violations.size());
  if (verdict.lost > 0)
    text += fmt::format("; lost: {} prefix, {} middle, {} postfix", verdict.lost_prefix, verdict.lost_middle,
                        verdict.lost_postfix);
  text += "\n";
  constexpr std::size_t kShown = 20;
  for (std::size_t i = 0; i < std::min(kShown, verdict.violations.size()); ++i) {
    const Violation& one = verdict.violations[i];
    text += fmt::format("{} {}: {}\n", one.invariant, one.job.empty() ? "-" : one.job, one.text);
  }
  const auto named = std::find_if(verdict.violations.begin(), verdict.violations.end(),
                                  [](const Violation& one) { return !one.job.empty(); });
  if (named == verdict.violations.end()) return text;
  // Its enqueue does not name it when it is asked, so the story begins with the body's questions.
  const Stories stories = sort_by_job(history, dump);
  const auto story = stories.jobs.find(named->job);
  const Operation* enqueue = story != stories.jobs.end() ? story->second.enqueue : nullptr;
  text += fmt::format("the story of job {}:\n", named->job);
  for (const Event& event : history) {
    const bool its_enqueue = enqueue != nullptr && (&event == enqueue->invoke || &event == enqueue->answer);
    if (event.job == named->job || its_enqueue || event.op == "crash") text += "  " + to_line(event) + "\n";
  }
  const auto stored = dump.find(named->job);
  text += stored == dump.end() ? "  at the end: not in the store\n"
                               : fmt::format("  at the end: {} in queue {} (dump line {})\n",
                                             stored->second.state, stored->second.queue, stored->second.line);
  return text;
}

}  // namespace jobq::faults
