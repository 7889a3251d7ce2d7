// Matching ready jobs with credit.
//
// In a pass over the queues that have ready jobs, every hungry worker of a queue is given one job, chosen by
// its own weights; passes go on until nobody can be given anything. So a few jobs spread over the workers,
// and many fill them. Within a queue the order is strict: priority, then arrival. Where the head of a lane is
// not in memory yet, its queue waits for it (one turn) rather than let a later job pass.
#include <algorithm>
#include <bit>

#include "broker/engine/state.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq {
namespace {

// One message of deliveries is closed when it is this full.
constexpr std::uint64_t kPlanBytes = 1U << 20;
constexpr std::size_t kPlanJobs = 1'000;
// Handed out in one tick: bodies are copied for each worker, and none of it is sent before the tick's commit.
constexpr std::uint64_t kTickBytes = 16U << 20;
// How far behind the head a worker looks when it has just given the head back.
constexpr std::size_t kLookPast = 16;

// Visits the streams with ready jobs that this worker serves, until one says false; returns what the last one said.
template <typename Visit>
bool each_stream(const Queue* queue, const Session& session, const Visit& visit) {
  if (session.types.empty()) {
    for (const auto& [type, stream] : queue->streams) {
      if (stream.ready == 0 || (!session.struck.empty() && session.struck.contains(type))) continue;
      if (!visit(stream)) return false;
    }
    return true;
  }
  for (const TypeNo type : session.types) {
    const auto stream = queue->streams.find(type);
    if (stream == queue->streams.end() || stream->second.ready == 0 || session.struck.contains(type))
      continue;
    if (!visit(stream->second)) return false;
  }
  return true;
}

}  // namespace

std::optional<Engine::State::Pick> Engine::State::find_job(Queue* queue, Session* session) {
  std::uint32_t priorities = 0;
  each_stream(queue, *session, [&priorities](const Stream& stream) {
    priorities |= stream.ready_priorities;
    return true;
  });
  while (priorities != 0) {
    const auto highest = static_cast<unsigned>(std::bit_width(priorities)) - 1;
    const auto lowest = static_cast<unsigned>(std::countr_zero(priorities));
    const unsigned priority = JOBQ_PLANTED(lowest_priority_first) ? lowest : highest;
    priorities &= ~(1U << priority);
    std::optional<Pick> best;
    const auto consider = [&](const Stream& stream) {
      LaneState* lane = stream.lanes[priority].get();
      if (lane == nullptr || lane->ready == 0) return true;
      if (lane->window.empty()) return false;  // Its head is still in the store.
      std::size_t looked_at = 0;
      lane->window.each([&](const ReadyEntry& entry) {
        if (entry.avoid == session->number && entry.avoid_until > now.engine) {
          avoided_until = std::min(avoided_until.value_or(kNever), entry.avoid_until);
          return ++looked_at < kLookPast;
        }
        if (!best || entry.meta.id < best->entry->meta.id) best = Pick{lane, &entry};
        return false;
      });
      return true;
    };
    if (!each_stream(queue, *session, consider)) return std::nullopt;
    if (best) return best;
  }
  return std::nullopt;
}

// One job for this worker, by deficit round robin over its queues (Shreedhar, Varghese: "Efficient fair
// queuing using deficit round robin", 1995), counted in jobs. False: none of its queues has one for it.
bool Engine::State::give_one(Session* session, std::map<SessionNo, DeliverPlan>* plans,
                             std::uint64_t* bytes_given) {
  const std::size_t queue_count = session->subscriptions.size();
  for (std::size_t step = 0; step < queue_count; ++step) {
    Subscription& subscription = session->subscriptions[session->cursor];
    Queue* queue = queues.find(subscription.queue);
    std::optional<Pick> pick;
    if (queue->dispatchable()) pick = find_job(queue, session);
    while (pick) {  // Jobs that have expired on the way are not handed out.
      const JobMeta& head = pick->entry->meta;
      if (!head.expires_at.is_set() || head.expires_at > now.engine) break;
      finish_waiting(JobMeta{head}, JobState::ready, Exit::expired);
      pick = find_job(queue, session);
    }
    if (pick && large_held && pick->entry->meta.bytes > limits.large_job_bytes) pick.reset();
    if (pick && session->credit_bytes != 0 && !session->held.empty() &&
        session->held_bytes + pick->entry->meta.bytes > session->credit_bytes) {
      pick.reset();
    }
    if (!pick) {
      subscription.deficit = 0;
      session->cursor = (session->cursor + 1) % queue_count;
      continue;
    }
    if (subscription.deficit == 0) subscription.deficit = subscription.weight;
    if (--subscription.deficit == 0) session->cursor = (session->cursor + 1) % queue_count;

    const ReadyEntry entry = pick->lane->window.take(pick->entry->meta.id);
    --window_jobs;
    const Leased* leased = grant(entry.meta, session);
    DeliverPlan& plan = (*plans)[session->number];
    if (!plan.jobs.empty() && (plan.bytes + entry.meta.bytes > kPlanBytes || plan.jobs.size() >= kPlanJobs)) {
      out->messages.push_back({session->peer, 0, std::move(plan)});
      plan = DeliverPlan{};
    }
    plan.session = session->number;
    plan.bytes += entry.meta.bytes;
    *bytes_given += entry.meta.bytes;
    const QueueSettings& settings = queue->settings;
    plan.jobs.push_back({{entry.meta.id, leased->lease_no},
                         queue->number,
                         entry.meta.progress.failures + 1,
                         entry.meta.max_attempts != 0 ? entry.meta.max_attempts : settings.max_attempts,
                         entry.meta.max_run_ms != 0 ? entry.meta.max_run_ms : settings.max_run_ms,
                         static_cast<std::uint32_t>((leased->until - now.engine).ms)});
    return true;
  }
  return false;
}

void Engine::State::dispatch() {
  avoided_until.reset();
  if (admission.refuse == Code::shutting_down) return;
  std::map<SessionNo, DeliverPlan> plans;
  std::uint64_t bytes_given = 0;
  std::uint32_t left = limits.dispatch_per_tick_max;
  std::vector<Queue*> active;
  for (const QueueNo number : ready_queues) {
    Queue* queue = queues.find(number);
    if (queue->dispatchable() && !queue->subscribers.empty()) active.push_back(queue);
  }
  std::vector<Queue*> next;
  while (!active.empty() && left > 0) {
    next.clear();
    for (Queue* queue : active) {
      bool gave = false;
      // Begin behind the worker that was served last, so that the first in the list is not always the first
      // to eat.
      auto place = queue->subscribers.behind(queue->last_served);
      for (std::size_t n = queue->subscribers.size(); n > 0 && left > 0 && queue->dispatchable(); --n) {
        if (place == queue->subscribers.end()) place = queue->subscribers.begin();
        Session* session = *place;
        ++place;
        if (!session->hungry() || !give_one(session, &plans, &bytes_given)) continue;
        queue->last_served = session->number;
        gave = true;
        left = bytes_given < kTickBytes ? left - 1 : 0;
      }
      if (gave && queue->dispatchable()) next.push_back(queue);
    }
    std::swap(active, next);
  }
  if (left == 0) work_left = true;
  for (auto& [number, plan] : plans) {
    if (!plan.jobs.empty()) out->messages.push_back({sessions.find(number)->peer, 0, std::move(plan)});
  }
}

// Asks for the next page of every lane whose window has run low.
void Engine::State::refill_lanes() {
  constexpr std::size_t kReadsPerTurn = 64;
  constexpr std::size_t kJobsPerRead = 4096;  // a larger page would hold up the turn
  std::size_t reads = 0;
  for (const QueueNo number : ready_queues) {
    for (const auto& [type, stream] : queues.find(number)->streams) {
      if (stream.ready == 0) continue;
      for (const auto& lane : stream.lanes) {
        if (lane == nullptr || !lane->window.more() || lane->refill_asked) continue;
        const std::size_t capacity = window_jobs < limits.window_jobs_max ? limits.lane_window : 64;
        if (lane->window.size() >= capacity / 2 || lane->ready == lane->window.size()) continue;
        if (++reads > kReadsPerTurn) {
          work_left = true;
          return;
        }
        lane->refill_asked = true;
        out->reads.emplace_back(
            ReadLane{lane->lane, 0, lane->window.horizon(),
                     static_cast<std::uint32_t>(std::min(capacity - lane->window.size(), kJobsPerRead))});
      }
    }
  }
}

void Engine::State::lane_read(const command::LaneRead& read) {
  LaneState* lane = queues.lane(read.lane);
  lane->refill_asked = false;
  const std::size_t before = lane->window.size();
  lane->window.append_page(read.page.jobs, read.page.covered_to, read.page.end);
  window_jobs += lane->window.size() - before;
}

void Engine::State::timers_read(const command::TimersRead& read) {
  (read.clock == Clock::engine ? engine_timers : wall_timers).append_page(read.page);
}

}  // namespace jobq
