// What can be seen of the engine: const, and at most O(queues + sessions).
#include <algorithm>

#include "broker/engine/state.hpp"

namespace jobq {
namespace {

// Ready jobs, free slots and nothing handed out for this long: something is wrong with us, and stats says so.
constexpr DurationMs kStarvedAfter{5'000};

TimeMs ready_since(const JobMeta& meta) { return std::max(meta.enqueued_at, meta.progress.ready_since); }

// Of the jobs that are next in each lane. The oldest of a lane is nearly always its head; a few are looked at
// because a retried job keeps its old place and is young all the same.
std::optional<TimeMs> oldest_ready(const Queue& queue) {
  constexpr std::size_t kLookAt = 16;
  std::optional<TimeMs> oldest;
  for (const auto& [type, stream] : queue.streams) {
    if (stream.ready == 0) continue;
    for (const auto& lane : stream.lanes) {
      if (lane == nullptr) continue;
      std::size_t looked_at = 0;
      lane->window.each([&](const ReadyEntry& entry) {
        const TimeMs since = ready_since(entry.meta);
        if (!oldest || since < *oldest) oldest = since;
        return ++looked_at < kLookAt;
      });
    }
  }
  return oldest;
}

}  // namespace

QueueView Engine::State::view(const Queue& queue, const Now& reading) const {
  QueueView view;
  view.number = queue.number;
  view.name = queue.name;
  view.settings = &queue.settings;
  view.counters = &queue.counters;
  const std::optional<TimeMs> oldest = oldest_ready(queue);
  if (oldest) view.oldest_ready_ms = std::max<std::int64_t>(0, (reading.engine - *oldest).ms);
  view.busy = queue.counters.leased;
  view.workers = static_cast<std::uint32_t>(queue.subscribers.size());
  bool could_be_served = false;
  for (const Session* session : queue.subscribers) view.slots += session->credit_jobs;
  for (const auto& [type, stream] : queue.streams) {
    if (stream.ready == 0) continue;
    bool served = false;
    for (const Session* session : queue.subscribers) {
      if (!session->serves(type)) continue;
      served = true;
      could_be_served = could_be_served || session->hungry();
    }
    if (!served) view.unserved_types.emplace_back(types[type], stream.ready);
  }
  if (could_be_served && queue.dispatchable() && oldest) {
    const TimeMs since = std::max(queue.granted_at, *oldest);
    view.starved = reading.engine - since > kStarvedAfter;
  }
  return view;
}

std::vector<QueueView> Engine::queues(const Now& now) const {
  std::vector<QueueView> views;
  views.reserve(state_->queues.size());
  for (const auto& [name, queue] : state_->queues.by_name()) views.push_back(state_->view(*queue, now));
  return views;
}

std::optional<QueueView> Engine::queue(std::string_view name, const Now& now) const {
  const Queue* queue = std::as_const(state_->queues).find(name);
  if (queue == nullptr) return std::nullopt;
  return state_->view(*queue, now);
}

std::string_view Engine::queue_name(QueueNo number) const {
  const Queue* queue = std::as_const(state_->queues).find(number);
  return queue != nullptr ? std::string_view{queue->name} : std::string_view{};
}

std::string_view Engine::type_name(TypeNo type) const {
  return type < state_->types.size() ? std::string_view{state_->types[type]} : std::string_view{};
}

std::vector<SessionView> Engine::sessions(const Now& now) const {
  std::vector<SessionView> views;
  for (const auto& [number, session] : state_->sessions.all()) {
    SessionView view;
    view.session = number;
    view.worker = session.worker;
    view.build = session.build;
    view.connected = session.connected;
    view.credit = session.credit_jobs;
    view.busy = static_cast<std::uint32_t>(session.held.size());
    view.peer = session.peer;
    view.draining = session.draining;
    view.silent_ms = session.heard_at.is_set() ? (now.engine - session.heard_at).ms : 0;
    for (const Subscription& subscription : session.subscriptions) {
      view.queues.emplace_back(queue_name(subscription.queue), subscription.weight);
    }
    for (const std::string& type : session.type_names) view.types.emplace_back(type);
    views.push_back(std::move(view));
  }
  return views;
}

std::optional<LeaseView> Engine::lease(JobId job) const {
  const Leased* leased = std::as_const(state_->leases).find(job);
  if (leased == nullptr) return std::nullopt;
  return state_->view(*leased);
}

LeaseView Engine::State::view(const Leased& leased) const {
  LeaseView view;
  view.lease_no = leased.lease_no;
  view.session = leased.session;
  view.worker = sessions.find(leased.session)->worker;
  view.granted_at = leased.granted_at;
  view.lease_until = leased.until;
  view.cancel_requested = leased.cancel_requested;
  view.lost = leased.orphaned;
  view.lane = leased.meta.lane;
  view.attempt = leased.meta.progress.failures + 1;
  return view;
}

std::vector<std::pair<JobId, LeaseView>> Engine::held_by(SessionNo session, std::size_t limit) const {
  std::vector<std::pair<JobId, LeaseView>> views;
  const Session* holder = std::as_const(state_->sessions).find(session);
  if (holder == nullptr) return views;
  std::vector<JobId> jobs = holder->held;
  std::sort(jobs.begin(), jobs.end());
  for (const JobId job : jobs) {
    if (views.size() == limit) break;
    views.emplace_back(job, *lease(job));
  }
  return views;
}

std::vector<TaskReply> Engine::tasks() const {
  std::vector<TaskReply> views;
  for (const auto& [number, task] : state_->tasks) views.push_back(state_->task_reply(task));
  return views;
}

std::optional<FinishedView> Engine::finished(JobId job) const {
  for (const auto& [number, queue] : state_->queues.all()) {
    const auto& finished = queue.finished;
    const auto entry = std::find_if(finished.rbegin(), finished.rend(),
                                    [job](const FinishedEntry& candidate) { return candidate.job == job; });
    if (entry == finished.rend()) continue;
    return FinishedView{number, entry->exit, entry->enqueued_at, entry->finished_at, entry->failures};
  }
  return std::nullopt;
}

std::vector<PeerId> Engine::session_peers() const {
  std::vector<PeerId> peers;
  for (const auto& [number, session] : state_->sessions.all()) {
    if (session.connected) peers.push_back(session.peer);
  }
  return peers;
}

}  // namespace jobq
