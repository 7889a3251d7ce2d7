// Work over many jobs, page by page between the other commands: redrive, purge, retention.
#include <fmt/format.h>

#include <algorithm>

#include "broker/engine/state.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq {
namespace {

constexpr std::uint32_t kPageJobs = 500;
constexpr std::size_t kTasksKept = 1'000;  // finished ones, for those who ask how it went
constexpr std::size_t kTasksRunning = 100;
constexpr DurationMs kRetentionEvery{60'000};

}  // namespace

TaskReply Engine::State::task_reply(const Task& task) const {
  TaskReply reply;
  reply.task = task.number;
  reply.kind = to_string(task.kind);
  reply.queue = task.queue;
  reply.state = task.state;
  reply.to_scan = std::max(task.to_scan, task.scanned);
  reply.scanned = task.scanned;
  reply.moved = task.moved;
  reply.skipped_expired = task.skipped_expired;
  reply.limit = task.limit;
  reply.rate_per_s = task.rate_per_s;
  reply.dry_run = task.dry_run;
  reply.started_at = task.started_at;
  reply.ended_at = task.ended_at;
  return reply;
}

void Engine::State::start_task(const Command& command, Task task) {
  std::size_t running = 0;
  for (const auto& [number, other] : tasks) running += other.state == TaskState::running ? 1U : 0U;
  if (running >= kTasksRunning) {
    return refuse(command, Code::bad_argument, "100 redrives and purges are running: wait for one to end",
                  1'000);
  }
  task.number = next_task++;
  task.started_at = task.rate_from = now.engine;
  task.cut = mark.next_job;
  task.to_scan = task.filter.job.is_set() ? 1 : task.to_scan;
  if (task.filter.job.is_set()) task.after = JobId{task.filter.job.value - 1};
  // A dry run changes nothing, and a retention begins anew by itself: nobody misses them after a restart.
  task.stored = !task.dry_run && task.kind != Task::Kind::drop_dead;
  const std::uint64_t number = task.number;
  const auto place = tasks.emplace(number, std::move(task)).first;
  keep_task(&place->second);
  if (tasks.size() > kTasksKept) {  // The oldest that has ended; a slow one may be older.
    const auto ended = std::ranges::find_if(
        tasks, [](const auto& entry) { return entry.second.state != TaskState::running; });
    if (ended != tasks.end()) tasks.erase(ended);
  }
  if (command.peer.value != 0) reply(command, AdminAnswer{task_reply(place->second)});
}

// What is stored of it goes with the changes of this turn, so that its counts are exact after a restart.
void Engine::State::keep_task(Task* task) {
  if (!task->stored) return;
  out->changes.emplace_back(static_cast<const change::PutTask&>(*task));
}

void Engine::State::end_task(Task* task, TaskState state) {
  task->state = state;
  task->ended_at = now.engine;
  if (task->stored) out->changes.emplace_back(change::RemoveTask{task->number});
  task->stored = false;
}

// A purge of a queue begins again with the first lane: what is left of it is all there is to find.
void Engine::State::list_lanes(Task* task) const {
  const Queue* queue = queues.find(task->queue);
  if (queue == nullptr) return;
  for (const auto& [type, stream] : queue->streams) {
    for (const auto& lane : stream.lanes) {
      if (lane != nullptr && lane->ready > 0) task->lanes.push_back(lane->lane);
    }
  }
  if (queue->counters.scheduled > 0) task->clocks = {Clock::engine, Clock::wall};
}

// After a restart. What its tasks did is done, so looking at a job again does no harm.
void Engine::State::resume_tasks(const std::vector<change::PutTask>& stored) {
  for (const change::PutTask& put : stored) {
    if (JOBQ_PLANTED(task_forgotten)) break;
    Task task;
    static_cast<change::PutTask&>(task) = put;
    task.stored = true;
    task.moved_before = put.moved;
    if (task.kind == Task::Kind::purge_queue) {
      task.after = {};
      list_lanes(&task);
    }
    next_task = std::max(next_task, put.number + 1);
    tasks.emplace(put.number, std::move(task));
  }
}

Task* Engine::State::running_task(std::uint64_t number) {
  const auto task = tasks.find(number);
  if (task == tasks.end() || task->second.state != TaskState::running) return nullptr;
  return &task->second;
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
  task.to_scan = queue->counters.dead;
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
  task.to_scan = queue->counters.dead;
  start_task(command, std::move(task));
}

void Engine::State::purge_queue(const Command& command, const command::PurgeQueue& request) {
  const Queue* queue = queues.find(request.queue);
  if (queue == nullptr)
    return refuse(command, Code::no_such_queue, fmt::format("there is no queue '{}'", request.queue));
  Task task;
  task.kind = Task::Kind::purge_queue;
  task.queue = queue->number;
  task.to_scan = queue->counters.ready + queue->counters.scheduled;
  list_lanes(&task);
  start_task(command, std::move(task));
}

void Engine::State::show_task(const Command& command, const command::ShowTask& request) {
  const auto task = tasks.find(request.task);
  if (task == tasks.end()) {
    return refuse(
        command, Code::bad_argument,
        "no such task: it never was, or it ended before the broker's last start; `jobq task ls` lists "
        "those that are known");
  }
  reply(command, AdminAnswer{task_reply(task->second)});
}

void Engine::State::cancel_task(const Command& command, const command::CancelTask& request) {
  if (Task* task = running_task(request.task)) end_task(task, TaskState::cancelled);
  show_task(command, {request.task});
}

// How many jobs it may move now.
std::uint64_t Engine::State::allowed_by_rate(const Task& task) const {
  if (task.rate_per_s == 0 || JOBQ_PLANTED(rate_ignored)) return ~std::uint64_t{0};
  const auto elapsed_ms = static_cast<std::uint64_t>((now.engine - task.rate_from).ms);
  const std::uint64_t by_now = task.moved_before + elapsed_ms * task.rate_per_s / 1'000 + 1;
  return by_now - std::min(by_now, task.moved);
}

void Engine::State::ask_for_page(Task* task) {
  task->read_asked = true;
  if (task->kind != Task::Kind::purge_queue) {
    // Without a filter every job counts: no more is read than may be moved.
    const std::uint64_t wanted = task->filter.any() ? kPageJobs : allowed_by_rate(*task);
    const auto limit = static_cast<std::uint32_t>(std::min<std::uint64_t>(kPageJobs, wanted));
    out->reads.emplace_back(ReadDead{task->queue, task->number, task->after, limit});
  } else if (!task->lanes.empty()) {
    out->reads.emplace_back(ReadLane{task->lanes.front(), task->number, task->after, kPageJobs});
  } else if (!task->clocks.empty()) {
    task->timer_after.clock = task->clocks.front();
    out->reads.emplace_back(ReadTimers{task->clocks.front(), task->number, task->timer_after, kPageJobs});
  } else {
    task->read_asked = false;
    end_task(task, TaskState::done);
  }
}

void Engine::State::run_tasks() {
  for (auto& [number, task] : tasks) {
    if (task.state != TaskState::running || task.read_asked) continue;
    if (allowed_by_rate(task) == 0) continue;  // Its time has not come.
    ask_for_page(&task);
    if (task.state == TaskState::running) work_left = true;
  }
  // A retention that has ended was nobody's question.
  std::erase_if(tasks, [](const auto& entry) {
    return entry.second.kind == Task::Kind::drop_dead && entry.second.state != TaskState::running;
  });
}

bool Engine::State::matches(const Task& task, const DeadJob& job) const {
  const DeadFilter& filter = task.filter;
  if (filter.job.is_set() && job.meta.id != filter.job) return false;
  if (filter.has_type && types[job.meta.lane.type] != filter.type) return false;
  if (!filter.error_contains.empty() && job.last_error.find(filter.error_contains) == std::string::npos)
    return false;
  if (filter.min_age_ms > 0 && now.engine - job.died_at < DurationMs{filter.min_age_ms}) return false;
  return true;
}

void Engine::State::task_dead_page(Task* task, const DeadPage& page) {
  task->read_asked = false;
  std::uint64_t allowed = allowed_by_rate(*task);
  const std::uint64_t moved = task->moved;
  bool over = page.end;
  for (const DeadJob& job : page.jobs) {
    const bool beyond = task->filter.job.is_set() && job.meta.id > task->filter.job;
    if (beyond || (task->limit != 0 && task->moved >= task->limit)) {
      over = true;
      break;
    }
    if (allowed == 0) {  // The rest of the page is read again when its time has come.
      over = false;
      break;
    }
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
      redrive(job.meta);
    } else {
      finish_waiting(job.meta, JobState::dead,
                     task->kind == Task::Kind::purge_dead ? Exit::purged : Exit::dropped);
    }
  }
  if (over) {
    end_task(task, TaskState::done);
  } else if (task->moved != moved) {
    keep_task(task);
  }
}

void Engine::State::task_lane_page(Task* task, const LanePage& page) {
  task->read_asked = false;
  const std::uint64_t moved = task->moved;
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
  if (task->moved != moved) keep_task(task);
}

void Engine::State::task_timer_page(Task* task, const TimerPage& page) {
  task->read_asked = false;
  const std::uint64_t moved = task->moved;
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
  if (task->moved != moved) keep_task(task);
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

}  // namespace jobq
