// The slow walk over everything: each relation between the parts that must hold between two calls.
#include "broker/engine/state.hpp"
#include "libjobq/base/check.hpp"

namespace jobq {
namespace {

void check_lane(const LaneState& lane, const LeaseTable& leases) {
  const LaneWindow& window = lane.window;
  JOBQ_CHECK(window.size() <= lane.ready, "{} in the window of a lane of {}", window.size(), lane.ready);
  JOBQ_CHECK(window.more() || window.size() == lane.ready,
             "{} of {} ready jobs are known and no more expected", window.size(), lane.ready);
  JobId previous{};
  window.each([&](const ReadyEntry& entry) {
    JOBQ_CHECK(entry.meta.lane == lane.lane);
    JOBQ_CHECK(previous < entry.meta.id, "the window is not in order at {}", entry.meta.id.value);
    JOBQ_CHECK(!window.more() || entry.meta.id <= window.horizon());
    JOBQ_CHECK(leases.find(entry.meta.id) == nullptr, "job {} is ready and leased", entry.meta.id.value);
    JOBQ_CHECK(!entry.meta.due.is_set(), "job {} is ready and due", entry.meta.id.value);
    previous = entry.meta.id;
    return true;
  });
}

}  // namespace

void Engine::check_invariants() const {
  const State& state = *state_;
  std::uint64_t in_windows = 0;
  std::map<QueueNo, std::uint64_t> leased_of;
  for (const auto& [id, leased] : state.leases.all()) {
    ++leased_of[leased.meta.lane.queue];
    const Session* session = state.sessions.find(leased.session);
    JOBQ_CHECK(session != nullptr, "job {} is leased to nobody", id.value);
    JOBQ_CHECK(leased.held_index < session->held.size() && session->held[leased.held_index] == id,
               "job {} is not where its session holds it", id.value);
    JOBQ_CHECK(leased.lease_no > leased.meta.progress.lease_no, "lease_no of {} did not rise", id.value);
    JOBQ_CHECK(session->connected || leased.orphaned, "job {} has a lost holder and is no orphan", id.value);
  }
  for (const auto& [number, queue] : state.queues.all()) {
    JOBQ_CHECK(queue.counters.balanced(), "queue {} does not add up", queue.name);
    std::uint64_t ready = 0;
    for (const auto& [type, stream] : queue.streams) {
      std::uint64_t stream_ready = 0;
      for (const auto& lane : stream.lanes) {
        if (lane == nullptr) continue;
        check_lane(*lane, state.leases);
        stream_ready += lane->ready;
        JOBQ_CHECK((lane->ready > 0) == ((stream.ready_priorities >> lane->lane.priority & 1U) != 0),
                   "queue {} priority {}", queue.name, lane->lane.priority);
        in_windows += lane->window.size();
      }
      JOBQ_CHECK(stream_ready == stream.ready, "queue {} type {}", queue.name, type);
      ready += stream_ready;
    }
    JOBQ_CHECK(ready == queue.counters.ready, "queue {}: {} in lanes, {} counted", queue.name, ready,
               queue.counters.ready);
    JOBQ_CHECK((ready > 0) == state.ready_queues.contains(number), "queue {}", queue.name);
    JOBQ_CHECK(leased_of[number] == queue.counters.leased, "queue {}: {} leased, {} counted", queue.name,
               leased_of[number], queue.counters.leased);
    for (const Session* subscriber : queue.subscribers) {
      JOBQ_CHECK(state.sessions.find(subscriber->number) == subscriber && subscriber->connected,
                 "queue {} has a lost subscriber", queue.name);
    }
  }
  JOBQ_CHECK(in_windows == state.window_jobs, "{} in windows, {} counted", in_windows, state.window_jobs);
  std::size_t held = 0;
  for (const auto& [number, session] : state.sessions.all()) {
    held += session.held.size();
    JOBQ_CHECK(session.connected || !session.held.empty(), "session {} is kept for nothing", number.value);
  }
  JOBQ_CHECK(held == state.leases.size(), "{} held, {} leased", held, state.leases.size());
}

}  // namespace jobq
