// The front of the engine: what comes in goes to the function that carries it out; a turn is begun and ended.
#include "broker/engine/engine.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "broker/engine/queue_settings.hpp"
#include "broker/engine/state.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"
#include "libjobq/protocol/names.hpp"

namespace jobq {

Engine::State::State(const EngineLimits& engine_limits, const Recovered& recovered, std::uint64_t seed)
    : limits(engine_limits),
      types(recovered.types),
      prng(seed),
      secret(recovered.secret),
      mark(recovered.mark) {
  if (types.empty()) types.emplace_back();
  for (std::size_t number = 1; number < types.size(); ++number) {
    type_numbers.emplace(types[number], static_cast<TypeNo>(number));
  }
  for (const RecoveredQueue& stored : recovered.queues) {
    Queue* queue = queues.insert(stored.queue, stored.name);
    queue->settings = stored.settings;
    queue->counters = stored.counters;
    queue->counters.ready = 0;  // Counted again with the lanes.
  }
  for (const RecoveredLane& stored : recovered.lanes) {
    LaneState* lane = queues.lane(stored.lane);
    Queue* queue = queues.find(stored.lane.queue);
    lane->ready = stored.ready;
    Stream& stream = *lane->stream;
    stream.ready += stored.ready;
    if (stored.ready > 0) stream.ready_priorities |= 1U << stored.lane.priority;
    queue->counters.ready += stored.ready;
    if (stored.ready > 0) {
      lane->window.expect_more();
      ready_queues.insert(queue->number);
    }
  }
  for (const RecoveredProducer& stored : recovered.producers) {
    Producer* producer = producers.insert(stored.producer, stored.seen_at);
    producer->lowest_open = stored.lowest_open;
    for (const change::ProducerAnswer& answer : stored.answers) producers.remember(producer, answer);
  }
  for (const RecoveredLease& stored : recovered.leases) {
    Session* session = sessions.find(stored.session);
    if (session == nullptr) {
      session = sessions.insert(stored.session);
      session->worker = fmt::format("session {}", stored.session.value);
    }
    Leased leased{.meta = stored.meta, .lease_no = stored.lease_no, .session = stored.session};
    leased.granted_at = stored.granted_at;
    leased.until = kNever;  // start() gives it its grace.
    leased.orphaned = leased.recovered = true;
    leased.held_index = static_cast<std::uint32_t>(session->held.size());
    session->held.push_back(stored.meta.id);
    session->held_bytes += stored.meta.bytes;
    leases.insert(leased, 0);
  }
  engine_timers.expect_more();
  wall_timers.expect_more();
  next_task = recovered.next_task;
  resume_tasks(recovered.tasks);
}

void Engine::State::begin(const Now& reading, Output* output) {
  // The two clocks come from one reading, and the engine's never goes back.
  JOBQ_CHECK(reading.engine >= now.engine, "the engine clock went back from {} to {}", now.engine.ms,
             reading.engine.ms);
  now = reading;
  out = output;
}

void Engine::State::reply(const Command& command, MessageBody body) {
  out->messages.push_back({command.peer, command.request_id, std::move(body)});
}

void Engine::State::refuse(const Command& command, Code code, std::string text,
                           std::uint32_t retry_after_ms) {
  reply(command, protocol::Error{code, std::move(text), retry_after_ms});
}

// Whether an earlier command of this turn changed the job, so that what the store said of it does not hold.
bool Engine::State::touched(JobId job) {
  for (; touched_in_set < touched_jobs.size(); ++touched_in_set)
    touched_set.insert(touched_jobs[touched_in_set]);
  return touched_set.contains(job);
}

Queue* Engine::State::create_queue(std::string_view name) {
  Queue* queue = queues.insert(mark.next_queue++, std::string{name});
  queue->settings = limits.defaults;
  out->changes.emplace_back(change::PutQueue{queue->number, queue->name, queue->settings});
  touch(queue);
  return queue;
}

TypeNo Engine::State::type_number(std::string_view type) {
  if (type.empty()) return 0;
  const auto known = type_numbers.find(type);
  if (known != type_numbers.end()) return known->second;
  const TypeNo number = mark.next_type++;
  JOBQ_CHECK(number == types.size(), "type {} of {}", number, types.size());
  types.emplace_back(type);
  type_numbers.emplace(std::string{type}, number);
  out->changes.emplace_back(change::PutType{number, std::string{type}});
  return number;
}

void Engine::State::set_queue(const Command& command, const command::SetQueue& set) {
  if (!protocol::is_queue_name(set.queue)) {
    return refuse(command, Code::bad_queue_name,
                  fmt::format("'{}' is no name for a queue: 1 to 64 letters, digits, '.', '_' or '-', the "
                              "first a letter or a digit",
                              set.queue));
  }
  Queue* queue = queues.find(set.queue);
  if (queue == nullptr && !set.create)
    return refuse(command, Code::no_such_queue, fmt::format("there is no queue '{}'", set.queue));
  if (queue == nullptr && queues.size() >= limits.queues_max) {
    return refuse(command, Code::too_many_queues, fmt::format("there are {} queues already", queues.size()));
  }
  QueueSettings settings = queue != nullptr ? queue->settings : limits.defaults;
  for (const auto& [name, value] : set.settings) {
    if (const Status status = apply_setting(&settings, name, value); !status.ok()) {
      return refuse(command, status.code(), status.text());
    }
  }
  if (const Status status = validate(settings); !status.ok())
    return refuse(command, status.code(), status.text());
  const bool created = queue == nullptr;
  if (created) queue = create_queue(set.queue);
  if (queue->settings != settings) {
    queue->settings = settings;
    out->changes.emplace_back(change::PutQueue{queue->number, queue->name, settings});
  }
  reply(command, AdminAnswer{SetQueueReply{queue->number, created}});
}

bool Engine::State::apply(const Command& command, const Facts& facts) {
  struct Visitor {
    State& state;
    const Command& command;
    const Facts& facts;
    bool operator()(const protocol::Enqueue& request) const { return state.enqueue(command, request, facts); }
    bool operator()(const protocol::Outcomes& request) const {
      return state.outcomes(command, request), true;
    }
    bool operator()(const protocol::Heartbeat& request) const {
      return state.heartbeat(command, request), true;
    }
    bool operator()(const protocol::Register& request) const {
      return state.register_worker(command, request, facts);
    }
    bool operator()(const protocol::Goodbye&) const { return state.goodbye(command), true; }
    bool operator()(const protocol::Hello&) const { return true; }  // The server has answered it.
    bool operator()(const command::PeerLost&) const { return state.peer_lost(command.peer), true; }
    bool operator()(const command::SendFailed& failed) const {
      return state.send_failed(command.peer, failed), true;
    }
    bool operator()(const command::Damaged& damaged) const {
      Leased* leased = state.leases.find(damaged.lease.job);
      if (leased == nullptr || leased->lease_no != damaged.lease.lease_no) return true;
      AttemptRecord record =
          state.attempt(leased, AttemptOutcome::failed, "the stored record does not check: see jobq check");
      state.bury(leased, DeadReason::damaged, std::move(record));
      return true;
    }
    bool operator()(const command::SetQueue& set) const { return state.set_queue(command, set), true; }
    bool operator()(const command::RemoveQueue& request) const {
      return state.remove_queue(command, request);
    }
    [[nodiscard]] bool facts_hold(JobId job) const {
      return state.leases.find(job) != nullptr || !state.touched(job);
    }
    bool operator()(const command::CancelJob& request) const {
      return facts_hold(request.job) && (state.cancel(command, request, facts), true);
    }
    bool operator()(const command::RetryJob& request) const {
      return facts_hold(request.job) && (state.retry(command, request, facts), true);
    }
    bool operator()(const command::SnoozeJob& request) const {
      return facts_hold(request.job) && (state.snooze(command, request, facts), true);
    }
    bool operator()(const command::DrainWorker& request) const {
      return state.drain_worker(command, request), true;
    }
    bool operator()(const command::CancelTask& request) const {
      return state.cancel_task(command, request), true;
    }
    bool operator()(const command::RedriveDead& request) const {
      return state.redrive_dead(command, request), true;
    }
    bool operator()(const command::PurgeDead& request) const {
      return state.purge_dead(command, request), true;
    }
    bool operator()(const command::PurgeQueue& request) const {
      return state.purge_queue(command, request), true;
    }
    bool operator()(const command::ShowTask& request) const {
      return state.show_task(command, request), true;
    }
    bool operator()(const command::LaneRead& read) const {
      if (read.task == 0) return state.lane_read(read), true;
      if (Task* task = state.running_task(read.task)) state.task_lane_page(task, read.page);
      return true;
    }
    bool operator()(const command::TimersRead& read) const {
      if (read.task == 0) return state.timers_read(read), true;
      if (Task* task = state.running_task(read.task)) state.task_timer_page(task, read.page);
      return true;
    }
    bool operator()(const command::DeadRead& read) const {
      if (Task* task = state.running_task(read.task)) state.task_dead_page(task, read.page);
      return true;
    }
    bool operator()(const command::JobRead& read) const { return state.job_read(read), true; }
  };
  return std::visit(Visitor{*this, command, facts}, command.body);
}

// Closes the turn: what was counted is written, what was gathered is sent.
void Engine::State::end_turn() {
  std::sort(touched_queues.begin(), touched_queues.end(),
            [](const Queue* a, const Queue* b) { return a->number < b->number; });
  for (Queue* queue : touched_queues) {
    JOBQ_CHECK(queue->counters.balanced(), "queue {}: jobs and exits do not add up", queue->name);
    out->changes.emplace_back(change::PutCounters{queue->number, queue->counters});
    queue->touched = false;
  }
  touched_queues.clear();
  std::sort(touched_lanes.begin(), touched_lanes.end(),
            [](const LaneState* a, const LaneState* b) { return a->lane < b->lane; });
  for (LaneState* lane : touched_lanes) {
    out->changes.emplace_back(change::PutLane{lane->lane, lane->ready});
    lane->touched = false;
  }
  touched_lanes.clear();
  for (auto& [id, put] : producer_puts) out->changes.emplace_back(std::move(put));
  producer_puts.clear();
  for (auto& [number, refs] : revoked) {
    const Session* session = sessions.find(number);
    if (session != nullptr && session->connected) {
      out->messages.push_back({session->peer, 0, protocol::Revoked{std::move(refs)}});
    }
  }
  revoked.clear();
  // Refills of the windows are answered before anything else of the next turn: a job that becomes ready in
  // front of a page that is still to come would be passed over.
  std::stable_partition(out->reads.begin(), out->reads.end(), [](const Read& read) {
    const auto* lane = std::get_if<ReadLane>(&read);
    const auto* timers = std::get_if<ReadTimers>(&read);
    return (lane != nullptr && lane->task == 0) || (timers != nullptr && timers->task == 0);
  });
  touched_jobs.clear();
  touched_set.clear();
  touched_in_set = 0;
  keys_made.clear();
  finished_index.clear();
  finished_indexed = false;
}

Engine::Engine(const EngineLimits& limits, const Recovered& recovered, std::uint64_t seed)
    : state_(std::make_unique<State>(limits, recovered, seed)) {}
Engine::~Engine() = default;

void Engine::start(const Now& now, Output* out) {
  State& state = *state_;
  JOBQ_CHECK(!state.started && now.engine >= state.mark.now.engine, "started at {}", now.engine.ms);
  state.started = true;
  state.begin(now, out);
  // While the broker was down no lease ran: the time of a run goes on where it stopped.
  const DurationMs down = now.engine - state.mark.now.engine;
  std::vector<JobId> jobs;
  for (const auto& [id, leased] : state.leases.all()) jobs.push_back(id);
  std::sort(jobs.begin(), jobs.end());
  for (const JobId job : jobs) {
    Leased* leased = state.leases.find(job);
    leased->granted_at = leased->granted_at + down;
    out->changes.emplace_back(change::MoveLease{job, leased->lease_no, leased->session, leased->granted_at});
    const std::int64_t grace_ms = JOBQ_PLANTED(no_grace_after_a_restart)
                                      ? 0
                                      : state.queues.find(leased->meta.lane.queue)->settings.session_grace_ms;
    state.leases.move(leased, now.engine + DurationMs{grace_ms}, -1 - grace_ms);
  }
  for (auto& [number, task] : state.tasks) task.rate_from = now.engine;
  state.refill_lanes();
  state.fire_timers();
  state.end_turn();
}

void Engine::lookups(const Command& command, Lookups* lookups) const {
  const auto ask = [lookups](JobId job) { lookups->jobs.push_back(job); };
  if (const auto* cancel = std::get_if<command::CancelJob>(&command.body)) return ask(cancel->job);
  if (const auto* retry = std::get_if<command::RetryJob>(&command.body)) return ask(retry->job);
  if (const auto* snooze = std::get_if<command::SnoozeJob>(&command.body)) return ask(snooze->job);
  if (const auto* worker = std::get_if<protocol::Register>(&command.body)) {
    for (const protocol::Outcome& outcome : worker->outcomes) lookups->jobs.push_back(outcome.lease.job);
    for (const protocol::LeaseRef& ref : worker->held) lookups->jobs.push_back(ref.job);
    return;
  }
  const auto* enqueue = std::get_if<protocol::Enqueue>(&command.body);
  if (enqueue == nullptr) return;
  for (const protocol::EnqueueGroup& group : enqueue->groups) {
    const Queue* queue = nullptr;
    for (std::uint32_t i = group.first; i < group.first + group.count; ++i) {
      const std::string_view key = enqueue->jobs[i].unique_key;
      if (key.empty()) continue;
      if (queue == nullptr) queue = state_->queues.find(group.queue);
      lookups->keys.push_back({group.queue, queue != nullptr ? queue->number : 0, key});
    }
  }
}

bool Engine::apply(const Command& command, const Facts& facts, const Now& now, Output* out) {
  JOBQ_CHECK(state_->started);
  state_->begin(now, out);
  return state_->apply(command, facts);
}

void Engine::tick(const Now& now, Output* out) {
  State& state = *state_;
  state.begin(now, out);
  state.work_left = false;
  state.end_leases();
  state.lose_silent_sessions();
  state.check_retention();
  state.fire_timers();
  state.run_tasks();
  state.dispatch();
  state.refill_lanes();
  state.end_turn();
}

bool Engine::has_ready_jobs() const { return !state_->ready_queues.empty(); }

std::optional<TimeMs> Engine::next_deadline(const Now& now) const {
  const State& state = *state_;
  if (state.work_left) return now.engine;
  std::optional<TimeMs> next;
  const auto consider = [&next](std::optional<TimeMs> at) {
    if (at && (!next || *at < *next)) next = at;
  };
  if (!JOBQ_PLANTED(sleeps_through_lapses)) consider(state.leases.next_end());
  if (const auto since = state.sessions.most_silent_since())
    consider(*since + DurationMs{3 * state.limits.heartbeat_ms});
  if (!JOBQ_PLANTED(sleeps_through_timers)) consider(state.engine_timers.next());
  if (const auto wall = state.wall_timers.next()) consider(now.engine + (*wall - now.wall));
  consider(state.avoided_until);
  for (const auto& [number, task] : state.tasks) {
    if (task.state == TaskState::running && !task.read_asked) consider(now.engine + DurationMs{20});
  }
  for (const auto& [number, queue] : state.queues.all()) {
    if (queue.settings.dead_retention_ms != 0 && queue.counters.dead != 0) {
      consider(state.next_retention_check);
      break;
    }
  }
  return next;
}

Mark Engine::mark(const Now& now) const {
  Mark mark = state_->mark;
  mark.now = now;
  return mark;
}

void Engine::hold_large_jobs(bool held) { state_->large_held = held; }

void Engine::set_admission(const Admission& admission) { state_->admission = admission; }
void Engine::set_limits(const EngineLimits& limits) { state_->limits = limits; }

}  // namespace jobq
