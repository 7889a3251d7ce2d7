// What stands between a ready job and a worker: seen, never decided by. O(sessions of the queue x types of the queue).
#include <algorithm>

#include "broker/engine/state.hpp"

namespace jobq {
namespace {

// Those of a lane that go before the job, as far as they are in memory.
void count_ahead(const LaneState& lane, const JobMeta& meta, WaitView* view) {
  if (lane.lane.priority > meta.lane.priority) {
    view->ahead += lane.ready;
    return;
  }
  view->ahead += lane.window.count_before(meta.id);
  view->ahead_more = view->ahead_more || (lane.window.more() && lane.window.horizon() < meta.id);
}

// Whether a worker that has just given the job back is kept from it.
bool is_avoided(const LaneState* lane, JobId job, SessionNo session, TimeMs now) {
  if (lane == nullptr) return false;
  const ReadyEntry* entry = lane->window.find(job);
  return entry != nullptr && entry->avoid == session && entry->avoid_until > now;
}

}  // namespace

WaitView Engine::waiting(const JobMeta& meta, const Now& now) const {
  WaitView view;
  const Queue* queue = std::as_const(state_->queues).find(meta.lane.queue);
  if (queue == nullptr) return view;
  view.paused = queue->settings.paused;
  view.workers = static_cast<std::uint32_t>(queue->subscribers.size());
  const auto own_stream = queue->streams.find(meta.lane.type);
  const LaneState* own_lane =
      own_stream == queue->streams.end() ? nullptr : own_stream->second.lanes[meta.lane.priority].get();
  std::vector<const Session*> serving;
  std::uint32_t avoided = 0;
  for (const Session* session : queue->subscribers) {
    if (!session->serves(meta.lane.type)) continue;
    serving.push_back(session);
    view.slots += session->credit_jobs;
    view.busy += session->held.size();
    if (session->credit_jobs == 0) ++view.draining;
    if (!session->hungry()) continue;
    ++view.with_room;
    if (is_avoided(own_lane, meta.id, session->number, now.engine)) ++avoided;
  }
  view.serving = static_cast<std::uint32_t>(serving.size());
  view.given_back = view.with_room > 0 && avoided == view.with_room;
  for (const auto& [type, stream] : queue->streams) {
    if (stream.ready == 0) continue;
    const bool theirs = std::any_of(serving.begin(), serving.end(),
                                    [&](const Session* session) { return session->serves(type); });
    if (!theirs) continue;
    for (std::size_t priority = meta.lane.priority; priority < stream.lanes.size(); ++priority) {
      if (stream.lanes[priority] != nullptr) count_ahead(*stream.lanes[priority], meta, &view);
    }
  }
  return view;
}

}  // namespace jobq
