// Work over many jobs, page by page between the other commands: redrive, purge, retention; and the cancelling
// of one.
#include <fmt/format.h>

#include <algorithm>

#include "broker/engine/state.hpp"
#include "libjobq/base/check.hpp"

namespace jobq {
namespace {

constexpr std::uint32_t kPageJobs = 500;
constexpr std::size_t kTasksKept = 1'000;  // finished ones, for those who ask how it went
constexpr std::size_t kTasksRunning = 100;
constexpr DurationMs kRetentionEvery{60'000};

const char* kind_name(Task::Kind kind) {
  switch (kind) {
    case Task::Kind::redrive:
      return "redrive";
    case Task::Kind::purge_dead:
      return "dead.purge";
    case Task::Kind::purge_queue:
      return "queue.purge";
    case Task::Kind::drop_dead:
      return "dead.retention";
  }
  return "?";
}

}  // namespace

TaskReply Engine::State::task_reply(const Task& task) const {
  return {task.number, kind_name(task.kind), task.state,  task.scanned,
          task.moved,  task.skipped_expired, task.dry_run};
}

void Engine::State::start_task(const Command& command, Task task) {
  std::size_t running = 0;
  for (const auto& [number, other] : tasks) running += other.state == TaskState::running ? 1U : 0U;
  if (running >= kTasksRunning) {
    return refuse(command, Code::bad_argument, "100 redrives and purges are running: wait for one to end",
                  1'000);
  }
  task.number = next_task++;
  task.started_at = now.engine;
  task.cut = mark.next_job;
  if (task.filter.job.is_set()) task.after = JobId{task.filter.job.value - 1};
  const std::uint64_t number = task.number;
  const auto place = tasks.emplace(number, std::move(task)).first;
  while (tasks.size() > kTasksKept && tasks.begin()->second.state == TaskState::done)
    tasks.erase(tasks.begin());
  if (command.peer.value != 0) reply(command, AdminAnswer{task_reply(place->second)});
}

void Engine::State::redrive_dead(const Command& command, const command::RedriveDead& request) {
  const Queue* queue = queues.find(request.queue);
  if (queue == nullptr)
    return refuse(command, Code::no_such_queue, fmt::format("there is no queue '{}'", request.queue));
  Task task;
  task.kind = Task::Kind::redrive;
  task.queue = queue->number;
  task.filter = request.filter;
  task.limit = request.limit;
  task.rate_per_s = request.rate_per_s;
  task.dry_run = request.dry_run;
  start_task(command, std::move(task));
}

void Engine::State::purge_dead(const Command& command, const command::PurgeDead& request) {
  const Queue* queue = queues.find(request.queue);
  if (queue == nullptr)
    return refuse(command, Code::no_such_queue, fmt::format("there is no queue '{}'", request.queue));
  Task task;
  task.kind = Task::Kind::purge_dead;
  task.queue = queue->number;
  task.filter = request.filter;
  start_task(command, std::move(task));
}

void Engine::State::purge_queue(const Command& command, const command::PurgeQueue& request) {
  const Queue* queue = queues.find(request.queue);
  if (queue == nullptr)
    return refuse(command, Code::no_such_queue, fmt::format("there is no queue '{}'", request.queue));
  Task task;
  task.kind = Task::Kind::purge_queue;
  task.queue = queue->number;
  for (const auto& [type, stream] : queue->streams) {
    for (const auto& lane : stream.lanes) {
      if (lane != nullptr && lane->ready > 0) task.lanes.push_back(lane->lane);
    }
  }
  if (queue->counters.scheduled > 0) task.clocks = {Clock::engine, Clock::wall};
  start_task(command, std::move(task));
}

void Engine::State::show_task(const Command& command, const command::ShowTask& request) {
  const auto task = tasks.find(request.task);
  if (task == tasks.end()) {
    return refuse(command, Code::bad_argument, "no such task: tasks are forgotten when the broker restarts");
  }
  reply(command, AdminAnswer{task_reply(task->second)});
}

void Engine::State::ask_for_page(Task* task) {
  task->read_asked = true;
  if (task->kind != Task::Kind::purge_queue) {
    out->reads.emplace_back(ReadDead{task->queue, task->number, task->after, kPageJobs});
  } else if (!task->lanes.empty()) {
    out->reads.emplace_back(ReadLane{task->lanes.front(), task->number, task->after, kPageJobs});
  } else if (!task->clocks.empty()) {
    task->timer_after.clock = task->clocks.front();
    out->reads.emplace_back(ReadTimers{task->clocks.front(), task->number, task->timer_after, kPageJobs});
  } else {
    task->read_asked = false;
    task->state = TaskState::done;
  }
}

void Engine::State::run_tasks() {
  for (auto& [number, task] : tasks) {
    if (task.state != TaskState::running || task.read_asked) continue;
    if (task.rate_per_s != 0) {
      const auto elapsed_ms = static_cast<std::uint64_t>((now.engine - task.started_at).ms);
      if (task.moved >= elapsed_ms * task.rate_per_s / 1'000 + 1) continue;  // Its time has not come.
    }
    ask_for_page(&task);
    if (task.state == TaskState::running) work_left = true;
  }
}

bool Engine::State::matches(const Task& task, const DeadJob& job) const {
  const command::DeadFilter& filter = task.filter;
  if (filter.job.is_set() && job.meta.id != filter.job) return false;
  if (filter.has_type && types[job.meta.lane.type] != filter.type) return false;
  if (!filter.error_contains.empty() && job.last_error.find(filter.error_contains) == std::string::npos)
    return false;
  if (filter.min_age_ms > 0 && now.engine - job.died_at < DurationMs{filter.min_age_ms}) return false;
  return true;
}

// Counters zeroed, lease_no and history kept.
void Engine::State::redrive(const DeadJob& job) {
  JobMeta meta = job.meta;
  Queue* queue = queues.find(meta.lane.queue);
  meta.progress.failures = 0;
  meta.progress.crashes = 0;
  meta.progress.snoozes = 0;
  ++meta.progress.redrives;
  meta.progress.ready_since = now.engine;
  meta.has_progress = true;
  meta.due = {};
  JOBQ_CHECK(queue->counters.dead > 0);
  --queue->counters.dead;
  ++queue->counters.redriven_total;
  queue->counters.bytes += meta.bytes;
  touch(queue);
  touched_jobs.push_back(meta.id);
  out->changes.emplace_back(change::Redrive{meta});
  enter_ready(meta, {}, {});
}

void Engine::State::task_dead_page(Task* task, const DeadPage& page) {
  task->read_asked = false;
  std::uint64_t allowed = ~std::uint64_t{0};
  if (task->rate_per_s != 0) {
    const auto elapsed_ms = static_cast<std::uint64_t>((now.engine - task->started_at).ms);
    allowed = elapsed_ms * task->rate_per_s / 1'000 + 1 -
              std::min(task->moved, elapsed_ms * task->rate_per_s / 1'000 + 1);
  }
  for (const DeadJob& job : page.jobs) {
    const bool beyond = task->filter.job.is_set() && job.meta.id > task->filter.job;
    if (beyond || (task->limit != 0 && task->moved >= task->limit)) {
      task->state = TaskState::done;
      return;
    }
    if (allowed == 0) return;  // The rest of the page is read again when its time has come.
    task->after = job.meta.id;
    ++task->scanned;
    if (job.died_at > task->started_at || touched(job.meta.id) || !matches(*task, job)) continue;
    if (task->kind == Task::Kind::redrive && job.meta.expires_at.is_set() &&
        job.meta.expires_at <= now.engine) {
      ++task->skipped_expired;
      continue;
    }
    ++task->moved;
    --allowed;
    if (task->dry_run) continue;
    if (task->kind == Task::Kind::redrive) {
      redrive(job);
    } else {
      finish_waiting(job.meta, JobState::dead,
                     task->kind == Task::Kind::purge_dead ? Exit::purged : Exit::dropped);
    }
  }
  if (page.end) task->state = TaskState::done;
}

void Engine::State::task_lane_page(Task* task, const LanePage& page) {
  task->read_asked = false;
  for (const JobMeta& meta : page.jobs) {
    if (meta.id >= task->cut) break;
    ++task->scanned;
    if (touched(meta.id)) continue;
    finish_waiting(meta, JobState::ready, Exit::purged);
    ++task->moved;
  }
  task->after = std::max(task->after, page.covered_to);
  if (page.end || task->after >= task->cut) {
    task->lanes.erase(task->lanes.begin());
    task->after = {};
  }
}

void Engine::State::task_timer_page(Task* task, const TimerPage& page) {
  task->read_asked = false;
  for (const TimerEntry& timer : page.timers) {
    task->timer_after = timer.key;
    if (timer.key.kind != TimerKind::due || timer.meta.lane.queue != task->queue) continue;
    ++task->scanned;
    if (timer.meta.id >= task->cut || touched(timer.meta.id)) continue;
    finish_waiting(timer.meta, JobState::scheduled, Exit::purged);
    ++task->moved;
  }
  if (page.end) {
    task->clocks.erase(task->clocks.begin());
    task->timer_after = {};
  }
}

// Dead jobs of queues that asked for it are dropped, counted, when they are old enough.
void Engine::State::check_retention() {
  if (now.engine < next_retention_check) return;
  next_retention_check = now.engine + kRetentionEvery;
  forget_old_producers();
  for (auto& [number, queue] : queues.all()) {
    if (queue.settings.dead_retention_ms == 0 || queue.counters.dead == 0) continue;
    Task task;
    task.kind = Task::Kind::drop_dead;
    task.queue = number;
    task.filter.min_age_ms = queue.settings.dead_retention_ms;
    start_task(Command{}, std::move(task));
  }
}

void Engine::State::cancel(const Command& command, const command::CancelJob& request, const Facts& facts) {
  if (Leased* leased = leases.find(request.job); leased != nullptr) {
    if (!leased->cancel_requested) {
      leased->cancel_requested = true;
      Session* session = sessions.find(leased->session);
      session->cancelling.insert(request.job);
      if (session->connected) {
        out->messages.push_back(
            {session->peer, 0, protocol::CancelRequested{{{request.job, leased->lease_no}}}});
      }
    }
    return reply(command, AdminAnswer{CancelReply{JobState::leased}});
  }
  const JobFact& fact = facts.jobs.front();
  if (!fact.known) {
    const bool left = unknown_lease({request.job, 0}) != protocol::ClaimResult::stale;
    return refuse(command, left ? Code::gone : Code::no_such_job, {});
  }
  finish_waiting(fact.meta, fact.state, Exit::cancelled);
  reply(command, AdminAnswer{CancelReply{JobState::gone}});
}

}  // namespace jobq
