#include "tests/faults/job_story.hpp"

#include <algorithm>
#include <utility>

namespace jobq::faults {
namespace {

bool is_settle(const std::string& op) {
  return op == "ack" || op == "nack" || op == "release" || op == "reject" || op == "snooze";
}

// Questions with their answers, in the order of the questions. The vector is complete before anyone points
// into it.
std::vector<Operation> pair_up(const std::vector<Event>& history) {
  std::vector<Operation> operations;
  std::map<std::tuple<std::string, std::string, std::uint64_t>, std::size_t> open;
  for (const Event& event : history) {
    const auto name = std::tuple{event.proc, event.op, event.seq};
    if (event.type == EventType::invoke) {
      open[name] = operations.size();
      operations.push_back({&event, nullptr});
      continue;
    }
    const auto asked = open.find(name);
    if (asked == open.end()) continue;
    operations[asked->second].answer = &event;
    open.erase(asked);
  }
  return operations;
}

void sort_in(Stories* stories, const Operation& operation) {
  const Event& asked = *operation.invoke;
  const std::string& op = asked.op;
  if (op == "enqueue") {
    stories->enqueues.push_back(&operation);
    stories->by_hash[asked.hash].push_back(&operation);
    if (operation.ok() && !operation.answer->duplicate && !operation.answer->job.empty()) {
      JobStory& story = stories->jobs[operation.answer->job];
      if (story.enqueue == nullptr) story.enqueue = &operation;
    }
    return;
  }
  if (op == "pause") stories->pauses[asked.queue].push_back(&operation);
  if (op == "resume") stories->resumes[asked.queue].push_back(&operation);
  if (op == "drain") stories->drains.push_back(&operation);
  if (op == "task_cancel") stories->task_cancels.push_back(&operation);
  if (op == "rm") {  // What is made under its name after that is another queue, and open.
    stories->removals[asked.queue].push_back(&operation);
    stories->resumes[asked.queue].push_back(&operation);
  }
  if (op == "purge") stories->purges[asked.queue].push_back(&operation);
  if (op == "redrive" && asked.job.empty()) stories->redrives[asked.queue].push_back(&operation);
  if (asked.job.empty()) return;
  JobStory& story = stories->jobs[asked.job];
  if (is_settle(op)) story.settles.push_back(&operation);
  if (op == "extend") story.extends.push_back(&operation);
  if (op == "cancel") story.cancels.push_back(&operation);
  if (op == "redrive" || op == "retry") story.redrives.push_back(&operation);
  if (op == "retry") story.retries.push_back(&operation);
  if (op == "put_off") story.put_offs.push_back(&operation);
  if (op == "get") story.gets.push_back(&operation);
}

}  // namespace

bool JobStory::settled_by(const std::string& op, bool surely) const {
  return std::any_of(settles.begin(), settles.end(), [&](const Operation* settle) {
    return settle->invoke->op == op && (surely ? settle->ok() : settle->possible());
  });
}

bool JobStory::rescheduled_between(std::int64_t from, std::int64_t until) const {
  const auto may = [&](const Operation* operation) {
    return operation->possible() && operation->asked_at() <= until && operation->over_at() >= from;
  };
  return std::any_of(retries.begin(), retries.end(), may) ||
         std::any_of(put_offs.begin(), put_offs.end(), may);
}

std::int64_t JobStory::handed_out_at(const Event& delivery) const {
  const auto granted = granted_at.find(delivery.token);
  return granted == granted_at.end() ? delivery.t : std::min(granted->second, delivery.t);
}

std::int64_t JobStory::may_end_at() const {
  std::int64_t end = kAtNoTime;
  for (const Operation* settle : settles)
    if (settle->possible() && settle->invoke->op == "ack") end = std::min(end, settle->asked_at());
  for (const Operation* cancel : cancels)
    if (cancel->possible()) end = std::min(end, cancel->asked_at());
  if (enqueue != nullptr && enqueue->invoke->expires_ms > 0) {
    end = std::min({end, enqueue->asked_at() + enqueue->invoke->expires_ms, misled_at});
    // An attempt that fails, and whose retry would come too late, ends the job at once.
    for (const Event* delivery : deliveries) end = std::min(end, delivery->t);
  }
  return end;
}

bool Stories::misled_between(std::int64_t from, std::int64_t until) const {
  return std::any_of(misled_starts.begin(), misled_starts.end(),
                     [&](std::int64_t start) { return start >= from && start <= until; });
}

namespace {

std::vector<std::int64_t> find_misled_starts(const std::vector<Event>& history) {
  std::vector<std::int64_t> found;
  bool first = true, set_since_commit = false;
  const Event* clock = nullptr;
  // A turn that began before the clock was set, and whose commit came after that, has stored the time of before.
  const auto began_since = [&clock](const Event& event) {
    return clock == nullptr || event.wall == 0 ||
           (event.wall >= clock->wall && event.wall <= clock->wall + event.t - clock->t);
  };
  for (const Event& event : history) {
    if (event.op == "clock") {
      set_since_commit = !std::exchange(first, false);
      clock = &event;
    }
    if (event.proc != "broker") continue;
    if (event.op == "start" && std::exchange(set_since_commit, false)) found.push_back(event.t);
    if (!event.job.empty() && event.op != "said" && began_since(event)) set_since_commit = false;
  }
  return found;
}

}  // namespace

Stories sort_by_job(const std::vector<Event>& history, const std::map<std::string, DumpedJob>& dump) {
  Stories stories;
  stories.operations = pair_up(history);
  for (const Operation& operation : stories.operations) sort_in(&stories, operation);
  stories.misled_starts = find_misled_starts(history);
  for (const Event& event : history) {
    stories.end = std::max(stories.end, event.t);
    if (event.op == "made") stories.jobs[event.job];
    if (event.op == "deliver") stories.jobs[event.job].deliveries.push_back(&event);
    if (event.op == "revoked") stories.jobs[event.job].revoked.push_back(&event);
    if (event.proc == "broker" && event.op == "granted")
      stories.jobs[event.job].granted_at.emplace(event.token, event.t);
    if (event.proc == "broker" && event.op == "said" && event.state == "delivered")
      stories.jobs[event.job].sent_at.emplace(event.token, event.t);
    if (event.op == "crash") stories.crashes.push_back(&event);
    if (event.op == "lost" || event.op == "frozen") stories.losses[event.proc].push_back(&event);
    if (event.op == "stats" && event.type == EventType::ok) stories.counts.push_back(&event);
  }
  for (const auto& [id, job] : dump) stories.jobs[id].stored = &job;
  const auto mislead = [&stories](JobStory* story) {
    if (story->enqueue == nullptr) return;
    for (const std::int64_t start : stories.misled_starts)
      if (start >= story->enqueue->asked_at()) story->misled_at = std::min(story->misled_at, start);
  };
  for (auto& [id, story] : stories.jobs) {
    story.job = id;
    mislead(&story);
    if (story.enqueue != nullptr) continue;
    // Made by a question that nobody saw answered: its body says which.
    const std::string& hash = story.stored != nullptr    ? story.stored->hash
                              : story.deliveries.empty() ? std::string{}
                                                         : story.deliveries.front()->hash;
    const auto found = stories.by_hash.find(hash);
    if (hash.empty() || found == stories.by_hash.end()) continue;
    for (const Operation* enqueue : found->second)
      if (enqueue->possible() && !enqueue->ok()) story.enqueue = enqueue;
    mislead(&story);
  }
  return stories;
}

}  // namespace jobq::faults
