#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "libjobq/base/id.hpp"
#include "tests/faults/rules.hpp"

namespace jobq::faults {
namespace {

bool is_brokers(const Event& event, const char* op) {
  return event.proc == "broker" && event.op == op && event.type == EventType::ok;
}

// A job as the broker's lines show it.
struct Waiting {
  int prio = 0;
  std::string queue, kind;
  std::int64_t returned_at = kAtNoTime;  // set: a worker gave it back then
};

constexpr std::int64_t kReleaseRestMs = 1'000;  // how long it is not offered to the session that gave it back

}  // namespace

// The first of what was ready in a queue goes first: higher priority, then earlier enqueue. Jobs of another type may be
// passed over (no worker takes them), and those that were just handed back.
void check_order_of_grants(const std::vector<Event>& history, Verdict* verdict) {
  using Place = std::pair<int, std::uint64_t>;                           // priority, highest first; id
  std::map<std::pair<std::string, std::string>, std::set<Place>> ready;  // by queue and type
  std::map<std::string, Waiting> jobs;
  const auto place_of = [](const Waiting& job, const std::string& id) {
    return Place{-job.prio, parse_job_id(id).value_or(JobId{}).value};
  };
  // The broker's lines carry the time at which their turn was on disk. What they say was decided since the turn before.
  std::int64_t turn = 0, turn_before = 0;
  for (const Event& event : history) {
    if (event.proc != "broker" || event.job.empty()) continue;
    if (event.t != turn) turn_before = std::exchange(turn, event.t);
    if (event.op == "made") jobs[event.job] = {event.prio, event.queue, event.kind, kAtNoTime};
    const auto found = jobs.find(event.job);
    if (found == jobs.end()) continue;
    Waiting& job = found->second;
    std::set<Place>& lane = ready[{job.queue, job.kind}];
    if (event.op == "granted") {
      int behind_resting = 1;  // a priority, negated
      for (const Place& first : lane) {
        if (first == place_of(job, event.job)) break;
        const Waiting& passed = jobs[to_text(JobId{first.second})];
        // A worker looks only so far past what it has just handed back.
        if (passed.returned_at != kAtNoTime && passed.returned_at + kReleaseRestMs >= turn_before)
          behind_resting = first.first;
        if (behind_resting == first.first) continue;
        verdict->violations.push_back({"I9", event.job,
                                       fmt::format("granted before job {}, which was ready and comes first",
                                                   to_text(JobId{first.second}))});
        break;
      }
      lane.erase(place_of(job, event.job));
    } else if (event.op == "left" || event.op == "died" || event.op == "put_off") {
      lane.erase(place_of(job, event.job));
    } else if ((event.op == "made" || event.op == "returned" || event.op == "ready" ||
                event.op == "redriven") &&
               event.state == "ready") {
      job.returned_at = event.op == "returned" ? event.t : kAtNoTime;
      lane.insert(place_of(job, event.job));
    }
  }
}

// By the broker's own lines nobody is given what another holds, nor under a lease_no that was given out before.
void check_grants(const std::vector<Event>& history, Verdict* verdict) {
  std::map<std::string, std::uint32_t> held, last;  // job -> token
  for (const Event& event : history) {
    if (event.proc != "broker" || event.job.empty()) continue;
    if (event.op == "returned" || event.op == "died" || event.op == "left") held.erase(event.job);
    if (event.op != "granted") continue;
    if (const auto [holder, alone] = held.emplace(event.job, event.token); !alone)
      verdict->violations.push_back(
          {"I5", event.job,
           fmt::format("granted under token {} while {} held", event.token, holder->second)});
    if (event.token <= last[event.job])
      verdict->violations.push_back(
          {"I5", event.job,
           fmt::format("granted under token {}, and {} was out before", event.token, last[event.job])});
    held[event.job] = last[event.job] = event.token;
  }
}

// Where the broker's lines are there, every exit is named, and somebody asked for it. (I1 alone must believe that a job
// that could have been purged was.)
void check_exits(const Stories& stories, const std::vector<Event>& history, Verdict* verdict) {
  // Whose answer never came: which job it made is not known, only that it may have asked for an expiry.
  const bool expiry_unanswered =
      std::any_of(stories.enqueues.begin(), stories.enqueues.end(), [](const Operation* enqueue) {
        return enqueue->possible() && !enqueue->ok() && enqueue->invoke->expires_ms > 0;
      });
  std::map<std::string, const Event*> left;
  std::map<std::string, std::string> made;  // its queue
  for (const Event& event : history) {
    if (is_brokers(event, "made")) made.emplace(event.job, event.queue);
    if (is_brokers(event, "left") && !left.emplace(event.job, &event).second)
      verdict->violations.push_back({"I1", event.job, "left twice"});
  }
  for (const auto& [id, queue] : made) {
    const JobStory& story = stories.jobs.at(id);
    const auto exit = left.find(id);
    if (exit == left.end()) {
      if (story.stored == nullptr)
        verdict->violations.push_back({"I1", id, "lost: made, not in the store, and it never left"});
      continue;
    }
    if (story.stored != nullptr)
      verdict->violations.push_back({"I1", id, fmt::format("{}, and in the store", exit->second->state)});
    const std::string& state = exit->second->state;
    const bool asked_for =
        (state == "acked" && story.settled_by("ack", false)) ||
        (state == "cancelled" && std::any_of(story.cancels.begin(), story.cancels.end(),
                                             [](const Operation* cancel) { return cancel->possible(); })) ||
        (state == "expired" &&
         (story.enqueue != nullptr ? story.enqueue->invoke->expires_ms > 0 : expiry_unanswered)) ||
        (state == "purged" && stories.purges.contains(queue));
    if (!asked_for)
      verdict->violations.push_back({"I1", id, fmt::format("{}, and nobody had asked for that", state)});
  }
}

void check_said_after_durable(const std::vector<Event>& history, Verdict* verdict) {
  std::set<std::string> made;
  std::map<std::string, std::uint32_t> leased;  // under which token
  std::map<std::string, std::uint32_t> last;    // the newest token that was granted
  for (const Event& event : history) {
    if (event.proc != "broker" || event.job.empty()) continue;
    if (event.op == "made") made.insert(event.job);
    if (event.op == "granted") leased[event.job] = last[event.job] = event.token;
    if (event.op == "returned" || event.op == "died" || event.op == "left") leased.erase(event.job);
    if (event.op != "said") continue;
    const auto holder = leased.find(event.job);
    if (event.state == "created" && !made.contains(event.job))
      verdict->violations.push_back({"I15", event.job, "confirmed before it was durable"});
    if (event.state == "delivered" && last[event.job] < event.token)
      verdict->violations.push_back(
          {"I15", event.job, fmt::format("delivered before its lease {} was durable", event.token)});
    if (event.state == "settled" && holder != leased.end() && holder->second == event.token)
      verdict->violations.push_back(
          {"I15", event.job, fmt::format("settled before the end of its lease {} was durable", event.token)});
  }
}

void check_liveness(const std::vector<Event>& history, Verdict* verdict) {
  const auto op = [](const char* name) { return [name](const Event& event) { return event.op == name; }; };
  const auto healed = std::find_if(history.begin(), history.end(), op("healed"));
  if (healed == history.end()) return;
  const auto drained = std::find_if(healed, history.end(), op("drained"));
  if (drained == history.end()) {
    verdict->violations.push_back({"I18", "", "healed, and no word of a drain after that"});
  } else if (drained->type != EventType::ok) {
    verdict->violations.push_back({"I18", "", fmt::format("not drained: {}", drained->err)});
  } else if (healed->within_ms > 0 && drained->t > healed->t + healed->within_ms) {
    verdict->violations.push_back({"I18", "",
                                   fmt::format("drained {} ms after the healing, {} were given",
                                               drained->t - healed->t, healed->within_ms)});
  }
}

// The codes of broker/exit_codes.hpp, which docs/configuration.md explains; 70 is a fault of ours.
void check_deaths(const std::vector<Event>& history, Verdict* verdict) {
  static const std::set<int> documented{0, 64, 69, 77, 78, 80, 81, 82, 83, 84, 85, 86, 87, 88};
  bool provoked = false;
  for (const Event& event : history) {
    if (is_brokers(event, "start")) provoked = false;
    if (event.op == "fault") provoked = true;
    if (!is_brokers(event, "exit")) continue;
    if (event.signal != 0) {
      verdict->violations.push_back({"I19", "", fmt::format("the broker died of signal {}", event.signal)});
    } else if (!documented.contains(event.code)) {
      verdict->violations.push_back({"I19", "", fmt::format("the broker ended with code {}", event.code)});
    } else if (event.code != 0 && !provoked) {
      verdict->violations.push_back(
          {"I19", "",
           fmt::format("the broker ended with code {}, and nothing had been done to it", event.code)});
    }
  }
}

namespace {

// What may be in the way of a request: each for its time, and a moment more to recover.
struct Hindrance {
  std::int64_t from = 0, until = 0;
  std::string proc;  // whose; empty: everybody's
};

constexpr std::int64_t kRecoveryMs = 10'000;

std::vector<Hindrance> hindrances(const std::vector<Event>& history) {
  std::vector<Hindrance> found;
  std::int64_t down_since = kAtNoTime;
  for (const Event& event : history) {
    const bool brokers = event.proc == "broker";
    // One that dies while it starts was never up in between.
    if (brokers && (event.op == "crash" || event.op == "exit") && down_since == kAtNoTime)
      down_since = event.t;
    if (is_brokers(event, "start") && down_since != kAtNoTime)
      found.push_back({std::exchange(down_since, kAtNoTime), event.t + kRecoveryMs, ""});
    if (event.op == "lost" || event.op == "frozen" || event.op == "stalled")
      found.push_back({event.t, event.t + event.within_ms + kRecoveryMs, brokers ? "" : event.proc});
    if (event.op == "outage") found.push_back({event.t, event.t + event.within_ms + kRecoveryMs, ""});
  }
  if (down_since != kAtNoTime) found.push_back({down_since, kAtNoTime, ""});
  return found;
}

// How much of a span was without any of them.
std::int64_t clear_ms(const std::vector<Hindrance>& all, const std::string& proc, std::int64_t from,
                      std::int64_t until) {
  std::vector<std::pair<std::int64_t, std::int64_t>> spans;
  for (const Hindrance& one : all)
    if ((one.proc.empty() || one.proc == proc) && one.from < until && one.until > from)
      spans.emplace_back(std::max(one.from, from), std::min(one.until, until));
  std::sort(spans.begin(), spans.end());
  std::int64_t clear = 0, reached = from;
  for (const auto& [begin, end] : spans) {
    clear += std::max<std::int64_t>(0, begin - reached);
    reached = std::max(reached, end);
  }
  return clear + std::max<std::int64_t>(0, until - reached);
}

bool is_an_answer(const std::string& code) {
  static const std::set<std::string> answers{"queue_full", "queue_bytes_full", "store_full", "disk_full",
                                             "not_done"};
  return answers.contains(code);
}

}  // namespace

// The library rides over restarts and broken connections. A deadline may be missed when there was hardly a clear moment
// in it; what the broker answers (full, ...) is an answer; everything else is an error that nobody should see.
void check_restarts(const Stories& stories, const std::vector<Event>& history, Verdict* verdict) {
  if (std::none_of(stories.enqueues.begin(), stories.enqueues.end(),
                   [](const Operation* enqueue) { return enqueue->invoke->timeout_ms > 0; }))
    return;
  constexpr std::int64_t kEnoughMs = 1'000;
  const std::vector<Hindrance> all = hindrances(history);
  for (const Operation* enqueue : stories.enqueues) {
    if (enqueue->invoke->timeout_ms == 0 || enqueue->answer == nullptr || enqueue->ok()) continue;
    const std::string& code = enqueue->answer->err;
    if (is_an_answer(code)) continue;
    const std::string who = fmt::format("enqueue {} of {}", enqueue->invoke->seq, enqueue->invoke->proc);
    if (code != "timed_out" && code != "unreachable") {
      verdict->violations.push_back({"I20", "", fmt::format("{} ended with {}", who, code)});
      continue;
    }
    const std::int64_t clear =
        clear_ms(all, enqueue->invoke->proc, enqueue->asked_at(), enqueue->answered_at());
    if (clear >= kEnoughMs)
      verdict->violations.push_back(
          {"I20", "",
           fmt::format("{} ended with {} after {} ms, {} of them without anything in its way", who, code,
                       enqueue->answered_at() - enqueue->asked_at(), clear)});
  }
}

namespace {

class WallClock {
 public:
  explicit WallClock(const std::vector<Event>& history) {
    for (const Event& event : history)
      if (event.op == "clock") readings_.push_back(&event);
  }
  [[nodiscard]] bool known() const { return !readings_.empty(); }
  [[nodiscard]] bool jumped_between(std::int64_t from, std::int64_t until) const {
    return std::any_of(readings_.begin(), readings_.end(), [&](const Event* reading) {
      return reading != readings_.front() && reading->t >= from && reading->t <= until;
    });
  }
  // The latest that it showed in a span of the run.
  [[nodiscard]] std::int64_t latest(std::int64_t from, std::int64_t until) const {
    std::int64_t latest = 0;
    for (std::size_t i = 0; i < readings_.size(); ++i) {
      const std::int64_t begins = readings_[i]->t;
      const std::int64_t ends = i + 1 < readings_.size() ? readings_[i + 1]->t : kAtNoTime;
      if (begins > until || ends < from) continue;
      latest = std::max(latest, readings_[i]->wall + std::min(ends, until) - begins);
    }
    return latest;
  }

 private:
  std::vector<const Event*> readings_;
};

constexpr std::int64_t kLateMs = 2'000;

// A delay that was over, and when its job became ready.
struct Fired {
  std::int64_t due = 0, at = 0;
};

// Whether a delay was late because more were over than the broker could see to in its turns: they came all the while, and
// nobody before who was due after it. One that was forgotten is overtaken, and one that nobody saw to stands behind a gap.
bool waited_its_turn(const std::vector<Fired>& fired, const std::vector<Hindrance>& all, std::int64_t due,
                     std::int64_t at) {
  std::int64_t reached = due;
  for (const Fired& one : fired) {
    if (one.at <= due) continue;
    if (one.due > due + kLateMs || clear_ms(all, "broker", reached, one.at) > kLateMs) return false;
    reached = one.at;
  }
  return clear_ms(all, "broker", reached, at) <= kLateMs;
}

}  // namespace

void check_clock(const Stories& stories, const std::vector<Event>& history, const CheckerOptions& options,
                 Verdict* verdict) {
  const WallClock wall{history};
  if (!wall.known()) return;
  const std::vector<Hindrance> all = hindrances(history);
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> scheduled;  // job -> since, delay
  for (const auto& [id, story] : stories.jobs) {
    if (story.enqueue == nullptr) continue;
    const Event& asked = *story.enqueue->invoke;
    for (const Event* delivery : story.deliveries)
      if (asked.run_at > 0 && !story.rescheduled_between(asked.t, delivery->t) &&
          wall.latest(asked.t, delivery->t) < asked.run_at - options.early_slack_ms)
        verdict->violations.push_back({"I21", id, "delivered before the wall clock had reached its date"});
    if (asked.delay_ms > 0) scheduled[id] = {0, asked.delay_ms};
  }
  std::vector<Fired> fired;
  for (const Event& event : history) {
    const auto found = scheduled.find(event.job);
    if (event.proc != "broker" || event.job.empty() || found == scheduled.end()) continue;
    auto& [since, delay] = found->second;
    if (event.op == "made") since = event.t;
    if (event.op == "ready" && since > 0) {
      const std::int64_t due = since + delay;
      if (event.t > due + kLateMs && clear_ms(all, "broker", due, event.t) > kLateMs &&
          !stories.misled_between(since, event.t) && !waited_its_turn(fired, all, due, event.t))
        verdict->violations.push_back(
            {"I21", event.job, fmt::format("ready {} ms after its delay was over", event.t - due)});
      // An operator may have moved it.
      if (event.t >= due && !stories.jobs.at(event.job).rescheduled_between(since, event.t))
        fired.push_back({due, event.t});
    }
    // What it told of the job did nothing to it.
    if (event.op != "made" && event.op != "said") scheduled.erase(found);
  }
}

void check_same_run(const std::vector<Event>& history, Verdict* verdict) {
  std::map<std::uint64_t, std::string> fingerprints;
  for (const Event& event : history) {
    if (event.op != "trace") continue;
    const auto [first, alone] = fingerprints.emplace(event.seq, event.hash);
    if (!alone && first->second != event.hash)
      verdict->violations.push_back(
          {"I22", "", fmt::format("seed {} gave {}, and then {}", event.seq, first->second, event.hash)});
  }
}

}  // namespace jobq::faults
