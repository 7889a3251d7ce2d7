#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "tests/faults/rules.hpp"

namespace jobq::faults {
namespace {

// Between a question and its answer, or ever after when none came; both ends included.
bool within(const Operation& operation, std::int64_t t) {
  return operation.asked_at() <= t && t <= operation.over_at();
}

const std::vector<const Operation*>& of_queue(
    const std::map<std::string, std::vector<const Operation*>>& operations, const std::string& queue) {
  static const std::vector<const Operation*> none;
  const auto found = operations.find(queue);
  return found == operations.end() ? none : found->second;
}

const JobStory* story_of(const Stories& stories, const std::string& job) {
  const auto found = stories.jobs.find(job);
  return found == stories.jobs.end() ? nullptr : &found->second;
}

bool has_brokers_lines(const std::vector<Event>& history) {
  return std::any_of(history.begin(), history.end(),
                     [](const Event& event) { return event.proc == "broker" && event.op == "made"; });
}

// When a task was known to be over: by the store, or by somebody who has cancelled it and was told so.
std::map<std::uint64_t, std::int64_t> tasks_known_over(const Stories& stories,
                                                       const std::vector<Event>& history) {
  std::map<std::uint64_t, std::int64_t> over;
  for (const Event& event : history)
    if (event.proc == "broker" && event.op == "task_over") over.emplace(event.task, event.t);
  for (const Operation* cancel : stories.task_cancels) {
    if (!cancel->ok()) continue;
    const auto [first, alone] = over.emplace(cancel->invoke->task, cancel->answered_at());
    if (!alone) first->second = std::min(first->second, cancel->answered_at());
  }
  return over;
}

// How many of a queue's dead jobs its redrives may have brought back by then, and whether one of them may still do so.
struct Allowance {
  bool somebody_asks = false, unlimited = false;
  std::uint64_t jobs = 0;
};

Allowance allowance_at(const Stories& stories, const std::map<std::uint64_t, std::int64_t>& over,
                       const std::vector<std::int64_t>& starts, const std::string& queue, std::int64_t t) {
  Allowance allowance;
  for (const Operation* redrive : of_queue(stories.redrives, queue)) {
    if (!redrive->possible() || redrive->asked_at() > t) continue;
    std::int64_t until = t;
    if (redrive->ok())
      if (const auto end = over.find(redrive->answer->task); end != over.end())
        until = std::min(until, end->second);
    allowance.somebody_asks = allowance.somebody_asks || until == t;
    const Event& asked = *redrive->invoke;
    std::uint64_t jobs = asked.limit;
    if (asked.rate > 0) {
      // One at once, and one at once again after each start.
      const auto begins =
          static_cast<std::uint64_t>(1 + std::count_if(starts.begin(), starts.end(), [&](std::int64_t start) {
                                       return start >= asked.t && start <= until;
                                     }));
      const std::uint64_t by_rate = begins + static_cast<std::uint64_t>(until - asked.t) * asked.rate / 1'000;
      jobs = jobs == 0 ? by_rate : std::min(jobs, by_rate);
    }
    allowance.unlimited = allowance.unlimited || jobs == 0 || stories.misled_between(asked.t, until);
    allowance.jobs += jobs;
  }
  return allowance;
}

// What a job did, as the broker's lines tell it.
struct Seen {
  std::string queue;
  bool granted = false;  // since it was made or came back from the dead
  std::vector<std::pair<std::int64_t, std::int64_t>> ready_in;  // spans
  bool ready = false;
};

void follow(const Event& event, Seen* seen) {
  const bool ready = event.op != "said" && event.state == "ready";
  if (event.op == "said") return;
  if (event.op == "made" || event.op == "redriven") seen->granted = false;
  if (event.op == "granted") seen->granted = true;
  if (seen->ready) seen->ready_in.back().second = event.t;
  seen->ready = ready;
  if (ready) seen->ready_in.emplace_back(event.t, kAtNoTime);
}

}  // namespace

// A job comes back from the dead because somebody asked for it, no faster and no further than they asked, and then it runs
// before it can die again. Who was told that a job is retried finds it ready.
void check_redriven(const Stories& stories, const std::vector<Event>& history, Verdict* verdict) {
  const auto over = tasks_known_over(stories, history);
  std::vector<std::int64_t> starts;
  std::map<std::string, Seen> jobs;
  std::map<std::string, std::uint64_t> redriven;  // by queue: not retried one by one
  for (const Event& event : history) {
    if (event.proc != "broker") continue;
    if (event.op == "start") starts.push_back(event.t);
    if (event.job.empty()) continue;
    Seen& seen = jobs[event.job];
    if (event.op == "made") seen.queue = event.queue;
    if (event.op == "died" && !seen.granted)
      verdict->violations.push_back({"I10", event.job, "died without having been run since it was waiting"});
    follow(event, &seen);
    if (event.op != "redriven") continue;
    const JobStory* story = story_of(stories, event.job);
    const bool retried =
        story != nullptr &&
        std::any_of(story->redrives.begin(), story->redrives.end(),
                    [&](const Operation* retry) { return retry->possible() && within(*retry, event.t); });
    if (retried) continue;
    const Allowance allowance = allowance_at(stories, over, starts, seen.queue, event.t);
    const std::uint64_t count = ++redriven[seen.queue];
    if (!allowance.somebody_asks) {
      verdict->violations.push_back(
          {"I10", event.job, "brought back from the dead, and nobody asked for that"});
    } else if (!allowance.unlimited && count > allowance.jobs) {
      verdict->violations.push_back(
          {"I10", event.job,
           fmt::format(
               "the {}th dead job of queue {} that was redriven, where at most {} were asked for by then",
               count, seen.queue, allowance.jobs)});
    }
  }
  for (const auto& [id, seen] : jobs) {
    const JobStory* story = story_of(stories, id);
    if (story == nullptr || seen.queue.empty()) continue;
    for (const Operation* retry : story->retries) {
      if (!retry->ok()) continue;
      const bool was_ready = std::any_of(seen.ready_in.begin(), seen.ready_in.end(), [&](const auto& span) {
        return span.first <= retry->answered_at() && span.second >= retry->asked_at();
      });
      if (!was_ready)
        verdict->violations.push_back({"I10", id, "retried, said the broker, and it was not ready then"});
    }
  }
}

void check_put_off(const Stories& stories, const std::vector<Event>& history, const CheckerOptions& options,
                   Verdict* verdict) {
  for (const Event& event : history) {
    if (event.proc != "broker" || event.op != "granted") continue;
    const JobStory* story = story_of(stories, event.job);
    if (story == nullptr || story->put_offs.empty()) continue;
    for (const Operation* put_off : story->put_offs) {
      const std::int64_t due = put_off->asked_at() + put_off->invoke->delay_ms;
      if (!put_off->ok() || event.t <= put_off->answered_at() || event.t >= due - options.early_slack_ms)
        continue;
      const auto changes_it = [&](const Operation* other) {
        return other != put_off && other->possible() && other->asked_at() <= event.t &&
               other->over_at() >= put_off->asked_at();
      };
      const bool excused = stories.misled_between(put_off->asked_at(), event.t) ||
                           std::any_of(story->put_offs.begin(), story->put_offs.end(), changes_it) ||
                           std::any_of(story->retries.begin(), story->retries.end(), changes_it);
      if (!excused)
        verdict->violations.push_back(
            {"I8", event.job,
             fmt::format("put off until {}, and granted {} ms before that", due, due - event.t)});
    }
  }
}

// A queue goes only when all of its jobs have gone, each for a reason of its own (check_exits), and because somebody asked;
// who was told that it is gone was told the truth.
void check_removed(const Stories& stories, const std::vector<Event>& history, Verdict* verdict) {
  std::map<std::string, std::set<std::string>> there;  // jobs by queue
  std::map<std::string, std::string> queue_of;
  std::map<std::string, std::vector<std::int64_t>> removed;
  for (const Event& event : history) {
    if (event.proc != "broker") continue;
    if (event.op == "made") {
      there[event.queue].insert(event.job);
      queue_of[event.job] = event.queue;
    } else if (event.op == "left") {
      there[queue_of[event.job]].erase(event.job);
    } else if (event.op == "removed") {
      removed[event.queue].push_back(event.t);
      for (const std::string& job : there[event.queue])
        verdict->violations.push_back(
            {"I1", job, fmt::format("in queue {} when that was removed", event.queue)});
      const auto& asked = of_queue(stories.removals, event.queue);
      if (std::none_of(asked.begin(), asked.end(), [&](const Operation* removal) {
            return removal->possible() && within(*removal, event.t);
          }))
        verdict->violations.push_back(
            {"I1", "", fmt::format("queue {} was removed, and nobody had asked for that", event.queue)});
    }
  }
  if (!has_brokers_lines(history)) return;
  for (const auto& [queue, removals] : stories.removals) {
    const std::vector<std::int64_t>& times = removed[queue];
    for (const Operation* removal : removals)
      if (removal->ok() &&
          std::none_of(times.begin(), times.end(), [&](std::int64_t t) { return within(*removal, t); }))
        verdict->violations.push_back(
            {"I1", "", fmt::format("queue {} is removed, said the broker, and it was not", queue)});
  }
}

// A worker that an operator drains gets nothing more, in that session and in that life of the broker.
void check_drained(const Stories& stories, const std::vector<Event>& history, Verdict* verdict) {
  for (const Operation* drain : stories.drains) {
    if (!drain->ok()) continue;
    bool drained = true;
    const std::uint64_t session = drain->invoke->session;
    for (const Event& event : history) {
      if (event.proc != "broker" || event.t < drain->asked_at()) continue;
      if (event.op == "start")
        drained = false;  // it was told again by its operator, or it is a worker like any other
      if (!drained) break;
      if (event.op == "granted" && event.session == session && event.t > drain->answered_at())
        verdict->violations.push_back(
            {"I17", event.job, fmt::format("granted to session {}, which was drained", session)});
    }
  }
}

// A task that was accepted is on disk before anybody hears of it, is known until it has ended, and ends.
void check_tasks(const Stories& stories, const std::vector<Event>& history, Verdict* verdict) {
  if (!has_brokers_lines(history)) return;
  struct Life {
    std::int64_t from = kAtNoTime, until = kAtNoTime;
  };
  std::map<std::uint64_t, Life> lives;
  bool drained = false;
  for (const Event& event : history) {
    if (event.op == "drained" && event.type == EventType::ok) drained = true;
    if (event.proc != "broker") continue;
    if (event.op == "task") lives[event.task].from = event.t;
    if (event.op == "task_over") lives[event.task].until = event.t;
  }
  for (const Operation& operation : stories.operations) {
    const bool begins = operation.invoke->op == "redrive" && operation.ok() && operation.answer->task != 0;
    if (begins && lives[operation.answer->task].from > operation.answered_at())
      verdict->violations.push_back(
          {"I15", "", fmt::format("task {} was confirmed before it was durable", operation.answer->task)});
  }
  for (const Operation* cancel : stories.task_cancels) {
    if (!cancel->failed() || cancel->answer->err != "bad_argument") continue;
    const auto life = lives.find(cancel->invoke->task);
    if (life != lives.end() && life->second.from < cancel->asked_at() &&
        life->second.until > cancel->answered_at())
      verdict->violations.push_back(
          {"I18", "", fmt::format("task {} goes on, and the broker does not know it", cancel->invoke->task)});
  }
  for (const auto& [task, life] : lives)
    if (drained && life.until == kAtNoTime && life.from != kAtNoTime)
      verdict->violations.push_back({"I18", "", fmt::format("task {} never ended", task)});
}

}  // namespace jobq::faults
