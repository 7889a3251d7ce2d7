#include <fmt/format.h>

#include <algorithm>

#include "libjobq/base/id.hpp"
#include "tests/faults/rules.hpp"

namespace jobq::faults {
namespace {

// Whether the holder gave the job back, lost it or died, as far as anyone can know, before `until`.
bool may_be_over(const Stories& stories, const JobStory& story, const Event& delivery, std::int64_t until,
                 const CheckerOptions& options) {
  const auto same_lease = [&](const Event& event) {
    return event.proc == delivery.proc && event.token == delivery.token;
  };
  for (const Operation* settle : story.settles)
    if (same_lease(*settle->invoke) && settle->possible() && settle->asked_at() <= until) return true;
  for (const Event* revoked : story.revoked)
    if (same_lease(*revoked) && revoked->t <= until + options.crossing_slack_ms) return true;
  for (const Event* crash : stories.crashes)
    if (crash->proc == delivery.proc && crash->t >= delivery.t &&
        crash->t <= until + options.crossing_slack_ms)
      return true;
  // Cut off or frozen, it could not claim its job or hear that it was lost. (That the broker ended the lease before
  // it gave the job to another is seen in its own lines.)
  if (const auto losses = stories.losses.find(delivery.proc); losses != stories.losses.end())
    for (const Event* loss : losses->second)
      if (loss->t + loss->within_ms >= delivery.t - options.crossing_slack_ms && loss->t <= until)
        return true;
  if (delivery.lease_ms == 0) return true;  // Not said: nothing can be concluded.
  std::int64_t deadline = delivery.t + delivery.lease_ms;
  for (const Operation* extend : story.extends)  // Its full length ran from the question on, at least.
    if (same_lease(*extend->invoke) && extend->ok() && extend->asked_at() <= until)
      deadline = std::max(deadline, extend->asked_at() + extend->answer->lease_ms);
  return until >= deadline - options.lease_slack_ms;
}

// On its way for longer than its lease, or written down by a process that had just been thawed: it was taken up before
// the process could know how late it was.
bool came_late(const Stories& stories, const JobStory& story, const Event& delivery) {
  constexpr std::int64_t kAwakeMs = 1'000;
  if (const auto sent = story.sent_at.find(delivery.token);
      sent != story.sent_at.end() && delivery.lease_ms > 0 && delivery.t >= sent->second + delivery.lease_ms)
    return true;
  const auto losses = stories.losses.find(delivery.proc);
  return losses != stories.losses.end() &&
         std::any_of(losses->second.begin(), losses->second.end(), [&](const Event* loss) {
           return loss->op == "frozen" && delivery.t >= loss->t &&
                  delivery.t <= loss->t + loss->within_ms + kAwakeMs;
         });
}

std::vector<const Event*> by_token(const JobStory& story) {
  std::vector<const Event*> deliveries = story.deliveries;
  std::stable_sort(deliveries.begin(), deliveries.end(),
                   [](const Event* a, const Event* b) { return a->token < b->token; });
  return deliveries;
}

}  // namespace

void check_ack_is_final(const Stories& stories, Verdict* verdict) {
  for (const auto& [id, story] : stories.jobs) {
    for (const Operation* ack : story.settles) {
      if (ack->invoke->op != "ack" || !ack->ok()) continue;
      if (story.stored != nullptr)
        verdict->violations.push_back({"I4", id,
                                       fmt::format("acked under token {}, and in the store as {}",
                                                   ack->invoke->token, story.stored->state)});
      for (const Event* delivery : story.deliveries)
        if (delivery->token > ack->invoke->token ||
            (delivery->t > ack->answered_at() && !came_late(stories, story, *delivery)))
          verdict->violations.push_back({"I4", id,
                                         fmt::format("acked under token {}, and delivered again under {}",
                                                     ack->invoke->token, delivery->token)});
      break;
    }
  }
}

void check_one_lease(const Stories& stories, const CheckerOptions& options, Verdict* verdict) {
  for (const auto& [id, story] : stories.jobs) {
    const auto deliveries = by_token(story);
    for (std::size_t i = 1; i < deliveries.size(); ++i) {
      const Event& before = *deliveries[i - 1];
      const Event& after = *deliveries[i];
      if (before.token == after.token) {
        verdict->violations.push_back({"I5", id,
                                       fmt::format("token {} was delivered twice, to {} and {}", after.token,
                                                   before.proc, after.proc)});
      } else if (came_late(stories, story, before)) {
        continue;
      } else if (after.t + options.crossing_slack_ms < before.t) {
        verdict->violations.push_back(
            {"I5", id, fmt::format("token {} came before token {}", after.token, before.token)});
      } else if (!may_be_over(stories, story, before, after.t, options)) {
        verdict->violations.push_back({"I5", id,
                                       fmt::format("delivered to {} under token {} while {} held it under {}",
                                                   after.proc, after.token, before.proc, before.token)});
      }
    }
  }
}

void check_fencing(const Stories& stories, Verdict* verdict) {
  for (const auto& [id, story] : stories.jobs) {
    std::uint32_t last = 0;
    for (const Event* delivery : story.deliveries) last = std::max(last, delivery->token);
    bool may_be_acked = false;
    for (const Operation* settle : story.settles) {
      if (settle->invoke->op == "ack" && settle->possible() && settle->invoke->token >= last)
        may_be_acked = true;
      if (!settle->ok()) continue;
      for (const Event* delivery : story.deliveries)
        if (delivery->token > settle->invoke->token && delivery->t < settle->asked_at())
          verdict->violations.push_back(
              {"I6", id,
               fmt::format("{} under token {} was accepted after token {} was out", settle->invoke->op,
                           settle->invoke->token, delivery->token)});
    }
    for (const Operation* extend : story.extends) {
      if (!extend->ok()) continue;
      for (const Event* delivery : story.deliveries)
        if (delivery->token > extend->invoke->token && delivery->t < extend->asked_at())
          verdict->violations.push_back(
              {"I6", id,
               fmt::format("extend under token {} was accepted after token {} was out", extend->invoke->token,
                           delivery->token)});
    }
    // Gone by an ack that was not its last holder's.
    const bool acked = story.settled_by("ack", true);
    if (acked && !may_be_acked)
      verdict->violations.push_back(
          {"I6", id, fmt::format("completed, and no ack with its last token {}", last)});
  }
}

// An attempt is failures so far + 1. Sure failures: nacks answered ok before the question of the delivery
// could be answered; possible ones: nacks asked before it, and lapses of a run that had a time limit. Such a run may
// have lapsed before its worker had even heard of it: tokens that nobody was given count too.
void check_attempts(const Stories& stories, Verdict* verdict) {
  for (const auto& [id, story] : stories.jobs) {
    if (!story.redrives.empty()) continue;  // Counts begin anew.
    if (story.enqueue != nullptr && stories.redrives.contains(story.enqueue->invoke->queue)) continue;
    const auto deliveries = by_token(story);
    std::uint32_t seen_limited = 0;
    for (std::size_t i = 0; i < deliveries.size(); ++i) {
      const Event& delivery = *deliveries[i];
      if (delivery.attempt == 0) continue;
      if (i > 0 && deliveries[i - 1]->may_time_out) ++seen_limited;
      const bool limited = delivery.may_time_out || seen_limited > 0;
      const auto seen = static_cast<std::uint32_t>(i);
      const std::uint32_t unseen = limited && delivery.token > seen + 1 ? delivery.token - 1 - seen : 0;
      std::uint32_t sure = 0, possible = seen_limited + unseen;
      for (const Operation* settle : story.settles) {
        if (settle->invoke->op != "nack" || settle->invoke->token >= delivery.token) continue;
        if (settle->ok() && settle->answered_at() <= delivery.t) ++sure;
        if (settle->possible() && settle->asked_at() <= delivery.t) ++possible;
      }
      if (delivery.attempt < sure + 1 || delivery.attempt > possible + 1)
        verdict->violations.push_back({"I7", id,
                                       fmt::format("attempt {} under token {}, after {} to {} failures",
                                                   delivery.attempt, delivery.token, sure, possible)});
      if (delivery.max_attempts != 0 && delivery.attempt > delivery.max_attempts)
        verdict->violations.push_back(
            {"I7", id, fmt::format("attempt {} of {}", delivery.attempt, delivery.max_attempts)});
      // The last one has failed: nothing is left to wait for.
      const bool was_last =
          delivery.max_attempts != 0 && delivery.attempt == delivery.max_attempts &&
          std::any_of(story.settles.begin(), story.settles.end(), [&](const Operation* settle) {
            return settle->ok() && settle->invoke->op == "nack" && settle->invoke->token == delivery.token;
          });
      if (was_last && story.stored != nullptr && story.stored->state != "dead")
        verdict->violations.push_back({"I7", id,
                                       fmt::format("attempt {} of {} failed, and it is {}", delivery.attempt,
                                                   delivery.max_attempts, story.stored->state)});
    }
  }
}

namespace {

// It was the last attempt, and somebody did not want to wait.
bool may_be_redriven(const Stories& stories, const JobStory& story, std::int64_t from, std::int64_t until) {
  const auto may = [&](const Operation* redrive) {
    return redrive->possible() && redrive->asked_at() <= until && redrive->over_at() >= from;
  };
  if (std::any_of(story.redrives.begin(), story.redrives.end(), may)) return true;
  if (story.enqueue == nullptr) return false;
  const auto of_queue = stories.redrives.find(story.enqueue->invoke->queue);
  // Such a task goes on after its answer.
  return of_queue != stories.redrives.end() &&
         std::any_of(of_queue->second.begin(), of_queue->second.end(), [&](const Operation* redrive) {
           return redrive->possible() && redrive->asked_at() <= until;
         });
}

}  // namespace

void check_not_early(const Stories& stories, const CheckerOptions& options, Verdict* verdict) {
  for (const auto& [id, story] : stories.jobs) {
    for (const Event* delivery : story.deliveries) {
      if (story.enqueue != nullptr && stories.misled_between(story.enqueue->asked_at(), delivery->t))
        continue;
      if (story.enqueue != nullptr && story.enqueue->invoke->delay_ms > 0 &&
          !story.rescheduled_between(story.enqueue->asked_at(), delivery->t)) {
        const std::int64_t due = story.enqueue->asked_at() + story.enqueue->invoke->delay_ms;
        if (delivery->t < due - options.early_slack_ms)
          verdict->violations.push_back(
              {"I8", id, fmt::format("delivered {} ms before its delay was over", due - delivery->t)});
      }
      for (const Operation* settle : story.settles) {
        // The delivery that followed this one.
        if (!settle->ok() || settle->invoke->delay_ms == 0 || delivery->token != settle->invoke->token + 1)
          continue;
        if (may_be_redriven(stories, story, settle->asked_at(), delivery->t) ||
            story.rescheduled_between(settle->asked_at(), delivery->t))
          continue;
        const std::int64_t due = settle->asked_at() + settle->invoke->delay_ms;
        if (delivery->t < due - options.early_slack_ms)
          verdict->violations.push_back({"I8", id,
                                         fmt::format("delivered {} ms before its wait after a {} was over",
                                                     due - delivery->t, settle->invoke->op)});
      }
    }
  }
}

namespace {

struct Served {
  std::string proc;
  bool one_by_one = true;
  std::vector<const Event*> deliveries;
};

// Only where a client can see the order of grants: one worker, one slot, no crash.
std::map<std::string, Served> served_one_by_one(const Stories& stories) {
  std::map<std::string, Served> queues;
  if (!stories.crashes.empty()) return queues;
  for (const auto& [id, story] : stories.jobs) {
    for (const Event* delivery : story.deliveries) {
      Served& served = queues[delivery->queue];
      if (served.proc.empty()) served.proc = delivery->proc;
      served.one_by_one = served.one_by_one && delivery->proc == served.proc && delivery->slots == 1;
      served.deliveries.push_back(delivery);
    }
  }
  std::erase_if(queues, [](const auto& queue) { return !queue.second.one_by_one; });
  return queues;
}

}  // namespace

// The grant of a delivery was made after the worker's last answer, because before that it had no free slot.
// What was surely ready by then, and was not delivered before it, waited with it.
void check_order(const Stories& stories, Verdict* verdict) {
  for (auto& [queue, served] : served_one_by_one(stories)) {
    std::vector<std::int64_t> free_at;  // when the slot came free, by time
    for (const Operation& operation : stories.operations)
      if (operation.invoke->proc == served.proc && operation.invoke->token != 0 &&
          operation.invoke->op != "extend")
        free_at.push_back(operation.asked_at());
    std::vector<const JobStory*> waiting;  // never delayed, delivered at most once
    for (const auto& [id, story] : stories.jobs)
      if (story.enqueue != nullptr && story.enqueue->ok() && story.enqueue->invoke->queue == queue &&
          story.enqueue->invoke->delay_ms == 0 && story.enqueue->invoke->expires_ms == 0 &&
          story.cancels.empty() && story.put_offs.empty() && parse_job_id(id))
        waiting.push_back(&story);
    for (const Event* delivery : served.deliveries) {
      const auto granted_after = std::lower_bound(free_at.begin(), free_at.end(), delivery->t);
      const auto delivered_id = parse_job_id(delivery->job);
      if (granted_after == free_at.begin() || !delivered_id) continue;
      const std::int64_t earliest_grant = *std::prev(granted_after);
      for (const JobStory* other : waiting) {
        const int prio = other->enqueue->invoke->prio;
        const bool first =
            prio > delivery->prio || (prio == delivery->prio && *parse_job_id(other->job) < *delivered_id);
        if (!first || other->enqueue->answered_at() >= earliest_grant) continue;
        if (!other->deliveries.empty() && other->deliveries.front()->t <= delivery->t) continue;
        verdict->violations.push_back(
            {"I9", delivery->job, fmt::format("delivered before job {}, which comes first", other->job)});
        break;
      }
    }
  }
}

void check_not_granted(const Stories& stories, const CheckerOptions& options, Verdict* verdict) {
  for (const auto& [id, story] : stories.jobs) {
    for (const Event* delivery : story.deliveries) {
      for (const Operation* cancel : story.cancels)
        if (cancel->ok() && cancel->answer->state == "gone" &&
            delivery->t > cancel->answered_at() + options.crossing_slack_ms)
          verdict->violations.push_back({"I17", id, "cancelled, and delivered after that"});
      if (story.enqueue == nullptr) continue;
      const Event& asked = *story.enqueue->invoke;
      const std::int64_t made_by = story.enqueue->ok() ? story.enqueue->answered_at() : kAtNoTime;
      const std::int64_t at = story.handed_out_at(*delivery);
      if (asked.expires_ms > 0 && made_by != kAtNoTime &&
          at > made_by + asked.expires_ms + options.crossing_slack_ms && !stories.misled_between(asked.t, at))
        verdict->violations.push_back({"I17", id, "expired, and delivered after that"});
      const auto pauses = stories.pauses.find(asked.queue);
      if (pauses == stories.pauses.end()) continue;
      const auto resumes = stories.resumes.find(asked.queue);
      for (const Operation* pause : pauses->second) {
        if (!pause->ok() || at <= pause->answered_at() + options.crossing_slack_ms) continue;
        const bool resumed =
            resumes != stories.resumes.end() &&
            std::any_of(resumes->second.begin(), resumes->second.end(), [&](const Operation* resume) {
              return resume->possible() && resume->asked_at() >= pause->asked_at() &&
                     resume->asked_at() <= at;
            });
        if (!resumed)
          verdict->violations.push_back(
              {"I17", id, fmt::format("delivered while queue {} was paused", asked.queue)});
      }
    }
  }
}

}  // namespace jobq::faults
