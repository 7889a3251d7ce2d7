// Why a job is not running: the question nobody else answers. Each reason is a sentence, what to do, and where it has them,
// the instants since and until.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "broker/server/admin.hpp"

namespace jobq {
namespace {

using json = nlohmann::ordered_json;

constexpr std::size_t kErrorShown = 200;

json reason(const char* kind, std::string text, std::string remedy = {}, TimeMs since = {},
            TimeMs until = {}) {
  const auto time = [](TimeMs at) { return at.is_set() && at < kNever ? json(at.ms) : json(); };
  return {{"kind", kind},
          {"text", std::move(text)},
          {"remedy", remedy.empty() ? json() : json(std::move(remedy))},
          {"since", time(since)},
          {"until", time(until)}};
}

const char* plural(std::uint64_t count, const char* one, const char* many) { return count == 1 ? one : many; }

// `: "550 no such mailbox"`, its first line; nothing when there is none.
std::string quoted(const std::vector<AttemptRecord>& attempts) {
  if (attempts.empty() || attempts.back().error.empty()) return {};
  std::string text = attempts.back().error.substr(0, attempts.back().error.find('\n'));
  if (text.size() > kErrorShown) text = text.substr(0, kErrorShown) + "...";
  return fmt::format(": \"{}\"", text);
}

json dead_reason(const DeadJob& dead, const std::vector<AttemptRecord>& attempts,
                 std::uint32_t max_attempts) {
  const std::string id = to_text(dead.meta.id);
  const std::string back = fmt::format("`jobq job retry {}` brings it back, its attempts counted anew", id);
  const std::uint32_t failures = dead.meta.progress.failures;
  switch (dead.reason) {
    case DeadReason::attempts:
      return reason("dead",
                    fmt::format("it is dead after {} {} of {}{}", failures,
                                plural(failures, "failure", "failures"), max_attempts, quoted(attempts)),
                    back, dead.died_at);
    case DeadReason::rejected:
      return reason("dead", "it is dead: its worker rejected it" + quoted(attempts), back, dead.died_at);
    case DeadReason::crashes:
      return reason(
          "dead",
          fmt::format("it is dead: {} workers in a row were lost, or its lease ran out, while they ran "
                      "it; `jobq job show {}` lists them",
                      dead.meta.progress.crashes, id),
          back, dead.died_at);
    case DeadReason::damaged:
      return reason("dead", "it is dead: its stored record does not check",
                    "stop the broker and run `jobq check`; suspect the disk", dead.died_at);
  }
  return reason("dead", "it is dead", back, dead.died_at);
}

json leased_reason(JobId id, const LeaseView& lease, std::uint32_t max_attempts) {
  if (lease.lost) {
    return reason(
        "worker_lost",
        fmt::format("it runs, or ran, on {}, which is not connected; if the worker is not back by then, "
                    "its lease ends",
                    lease.worker),
        {}, lease.granted_at, lease.lease_until);
  }
  return reason("leased",
                fmt::format("it is running: leased to {} (attempt {} of {}, lease {})", lease.worker,
                            lease.attempt, max_attempts, lease.lease_no),
                lease.cancel_requested
                    ? std::string("its worker was asked to stop it")
                    : fmt::format("`jobq job cancel {}` asks its worker to stop", to_text(id)),
                lease.granted_at, lease.lease_until);
}

json scheduled_reason(const JobMeta& meta, const std::vector<AttemptRecord>& attempts,
                      std::uint32_t max_attempts, std::uint32_t crash_limit) {
  const std::string now = fmt::format("`jobq job retry {}` runs it now", to_text(meta.id));
  const JobProgress& progress = meta.progress;
  const AttemptOutcome last = attempts.empty() ? AttemptOutcome::failed : attempts.back().outcome;
  if (progress.crashes > 0) {
    return reason(
        last == AttemptOutcome::lapsed ? "after_lapse" : "after_crash",
        fmt::format("it waits after {} {} of {}{}", last == AttemptOutcome::lapsed ? "lapse" : "crash",
                    progress.crashes, crash_limit, quoted(attempts)),
        now, {}, meta.due);
  }
  if (progress.failures > 0) {
    const std::string snoozed =
        progress.snoozes > 0
            ? fmt::format(" (and {} {})", progress.snoozes, plural(progress.snoozes, "snooze", "snoozes"))
            : "";
    return reason("backoff",
                  fmt::format("it waits after failure {} of {}{}{}", progress.failures, max_attempts, snoozed,
                              quoted(attempts)),
                  now, {}, meta.due);
  }
  if (progress.snoozes > 0) {
    return reason("snoozed",
                  fmt::format("its worker put it off ({} {} so far)", progress.snoozes,
                              plural(progress.snoozes, "snooze", "snoozes")),
                  now, {}, meta.due);
  }
  return reason("scheduled", "it is not to run before its time", now, {}, meta.due);
}

}  // namespace

// What stands between the job and a worker; of a scheduled one only what will still be so when it is due.
void AdminDesk::add_waiting_reasons(const JobMeta& meta, bool ready, const Now& now, json* reasons) const {
  const WaitView wait = sources_.engine->waiting(meta, now);
  const std::string queue(sources_.engine->queue_name(meta.lane.queue));
  const std::string type(sources_.engine->type_name(meta.lane.type));
  const std::string jobs_of_type = type.empty() ? "jobs without a type" : fmt::format("type '{}'", type);
  const char* workers = plural(wait.serving, "worker", "workers");
  if (wait.paused) {
    reasons->push_back(reason("paused", fmt::format("queue '{}' is paused", queue),
                              fmt::format("`jobq queue resume {}`", queue)));
  }
  if (wait.workers == 0) {
    reasons->push_back(reason("no_worker", fmt::format("no worker serves queue '{}'", queue),
                              "start a worker that serves this queue"));
  } else if (wait.serving == 0) {
    reasons->push_back(
        reason("no_worker_for_type",
               fmt::format("{} {} queue '{}', and none of them takes {}", wait.workers,
                           plural(wait.workers, "worker serves", "workers serve"), queue, jobs_of_type),
               "start a worker with a handler for it; `jobq worker ls` shows what each takes"));
  } else if (wait.draining == wait.serving) {
    reasons->push_back(
        reason("workers_draining",
               fmt::format("the {} {} that {} it will finish what they have and take nothing more",
                           wait.serving, workers, plural(wait.serving, "takes", "take")),
               "start another worker"));
  } else if (!ready) {
    return;
  } else if (wait.with_room == 0) {
    reasons->push_back(reason("workers_busy",
                              fmt::format("the {} {} that {} it {} full: {} of {} slots are in use",
                                          wait.serving, workers, plural(wait.serving, "takes", "take"),
                                          plural(wait.serving, "is", "are"), wait.busy, wait.slots),
                              "wait, or start more workers"));
  } else if (wait.given_back) {
    reasons->push_back(reason("given_back", "the worker that has room handed it back a moment ago",
                              "it is offered to it again within a second"));
  } else if (!wait.paused) {
    reasons->push_back(reason("next",
                              "a worker that takes it has room: it is handed out now or with the next turn",
                              "ask again; if nothing moves, `jobq stats` says what is wrong"));
  }
  if (ready && wait.ahead > 0) {
    reasons->push_back(
        reason("behind", fmt::format("{}{} ready {} before it", wait.ahead_more ? "at least " : "",
                                     wait.ahead, plural(wait.ahead, "job goes", "jobs go"))));
  }
}

json AdminDesk::why(const KnownJob& job, const Now& now) const {
  json reasons = json::array();
  const JobMeta& meta = job.fact.meta;
  switch (job.fact.state) {
    case JobState::leased:
      if (job.lease) reasons.push_back(leased_reason(meta.id, *job.lease, job.max_attempts));
      break;
    case JobState::dead:
      if (job.dead) reasons.push_back(dead_reason(*job.dead, job.attempts, job.max_attempts));
      break;
    case JobState::scheduled: {
      const auto queue = sources_.engine->queue(sources_.engine->queue_name(meta.lane.queue), now);
      reasons.push_back(scheduled_reason(meta, job.attempts, job.max_attempts,
                                         queue ? queue->settings->crash_limit : QueueSettings{}.crash_limit));
      add_waiting_reasons(meta, false, now, &reasons);
      break;
    }
    case JobState::ready:
      add_waiting_reasons(meta, true, now, &reasons);
      break;
    case JobState::gone:
      break;
  }
  const bool waits = job.fact.state == JobState::ready || job.fact.state == JobState::scheduled;
  if (waits && meta.expires_at.is_set()) {
    reasons.push_back(reason("expires", "it leaves the queue without having run if it has not begun by then",
                             {}, {}, meta.expires_at));
  }
  return reasons;
}

}  // namespace jobq
