// The verdict in words, for somebody who has to find out what happened.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "tests/faults/checker.hpp"
#include "tests/faults/job_story.hpp"

namespace jobq::faults {
namespace {

const char* word_for(const Event& event) {
  if (event.proc == "broker" || event.proc == "run" || event.op == "revoked") return "";
  if (event.op == "deliver") return "receives it";
  switch (event.type) {
    case EventType::invoke:
      return "asks";
    case EventType::ok:
      return "is told: done";
    case EventType::fail:
      return "is told: refused";
    case EventType::info:
      return event.seq != 0 ? "hears nothing" : "";
  }
  return "";
}

// "123,456 w3      ack        asks           token 2, seq 17".
std::string line_of(const Event& event) {
  std::string details;
  const auto add = [&details](const std::string& text) { details += (details.empty() ? "" : ", ") + text; };
  const auto number = [&](const char* name, auto value) {
    if (value != 0) add(fmt::format("{} {}", name, value));
  };
  const auto text = [&](const char* name, const std::string& value) {
    if (!value.empty()) add(fmt::format("{}{}{}", name, *name == 0 ? "" : " ", value));
  };
  text("", event.state);
  number("token", event.token);
  number("attempt", event.attempt);
  number("session", event.session);
  number("delay", event.delay_ms);
  number("expires in", event.expires_ms);
  number("at date", event.run_at);
  number("lease", event.lease_ms);
  number("for", event.within_ms);
  text("queue", event.queue);
  if (event.prio >= 0) add(fmt::format("prio {}", event.prio));
  text("type", event.kind);
  text("key", event.key);
  text("group", event.group);
  text("body", event.hash);
  if (event.duplicate) add(fmt::format("as duplicate of {}", event.job));
  number("task", event.task);
  number("rate", event.rate);
  number("limit", event.limit);
  if (event.op == "clock") number("now", event.wall);
  if (event.op == "exit") add(fmt::format("code {}", event.code));
  text("", event.err);
  number("seq", event.seq);
  std::string line =
      fmt::format("  {:>9} {:<8} {:<10} {:<16} {}", event.t, event.proc, event.op, word_for(event), details);
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

// What happened to those who had to do with the job, while it lived.
bool befalls(const Event& event) {
  static const std::set<std::string> ops{"crash",   "start",   "exit",  "stalled", "frozen",
                                         "lost",    "clock",   "fault", "outage",  "healed",
                                         "drained", "removed", "pause", "resume",  "rm"};
  return ops.contains(event.op);
}

std::string story_of(const std::string& job, const Stories& stories, const std::vector<Event>& history) {
  const auto found = stories.jobs.find(job);
  const Operation* enqueue = found != stories.jobs.end() ? found->second.enqueue : nullptr;
  std::string queue = enqueue != nullptr ? enqueue->invoke->queue : "";
  // Its enqueue does not name it when it is asked, nor an answer always what it answers.
  std::set<const Event*> its;
  for (const Event& event : history) {
    if (event.job != job) continue;
    its.insert(&event);
    if (queue.empty()) queue = event.queue;
  }
  for (const Operation& operation : stories.operations) {
    if (&operation != enqueue && operation.invoke->job != job) continue;
    its.insert(operation.invoke);
    if (operation.answer != nullptr) its.insert(operation.answer);
  }
  if (its.empty()) return "";
  std::set<std::string> cast{"broker", "run"};
  std::int64_t begin = kAtNoTime, end = 0;
  for (const Event* event : its) {
    cast.insert(event->proc);
    begin = std::min(begin, event->t);
    end = std::max(end, event->t);
  }
  std::string text =
      fmt::format("the story of job {}, in ms, with what befell those who had to do with it:\n", job);
  for (const Event& event : history) {
    const bool around = event.t >= begin && event.t <= end && befalls(event) &&
                        (event.queue.empty() ? cast.contains(event.proc) : event.queue == queue);
    if (its.contains(&event) || around) text += line_of(event);
  }
  return text;
}

}  // namespace

std::string report(const Verdict& verdict, const std::vector<Event>& history, const Dump& dump) {
  std::string text = fmt::format(
      "{} events: {} confirmed, {} unknown ({} recovered), {} lost, {} phantom, {} acked, {} deliveries ({} "
      "jobs more than once), {} in the store\n",
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
  text += story_of(named->job, sort_by_job(history, dump), history);
  const auto stored = dump.find(named->job);
  text += stored == dump.end() ? "  at the end: not in the store\n"
                               : fmt::format("  at the end: {} in queue {} (dump line {})\n",
                                             stored->second.state, stored->second.queue, stored->second.line);
  return text;
}

}  // namespace jobq::faults
