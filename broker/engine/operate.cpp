// What an operator does to one job, one queue, one worker: cancel, retry, snooze; remove; drain.
#include <fmt/format.h>

#include <algorithm>

#include "broker/engine/state.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq {
namespace {

std::string workers_text(const Queue& queue) {
  constexpr std::size_t kNamed = 3;
  std::string text;
  std::size_t named = 0;
  for (const Session* session : queue.subscribers) {
    if (++named > kNamed) break;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", session->worker);
  }
  if (queue.subscribers.size() > kNamed) text += ", ...";
  return text;
}

}  // namespace

void Engine::State::refuse_unknown_job(const Command& command, JobId job) {
  const std::string id = to_text(job);
  if (unknown_lease({job, 0}) != protocol::ClaimResult::stale) {
    return refuse(
        command, Code::gone,
        fmt::format("job {0} has left the broker already; `jobq job show {0}` says how, while it is "
                    "remembered",
                    id));
  }
  refuse(command, Code::no_such_job,
         fmt::format("there is no job {}: it never was, or it has left and is forgotten", id));
}

void Engine::State::cancel(const Command& command, const command::CancelJob& request, const Facts& facts) {
  if (Leased* leased = leases.find(request.job); leased != nullptr) {
    if (JOBQ_PLANTED(leased_cancelled_at_once)) {
      touch(queues.find(leased->meta.lane.queue));
      finish_leased(leased, Exit::cancelled);
      return reply(command, AdminAnswer{JobReply{request.job, JobState::leased, JobState::gone, {}}});
    }
    if (!leased->cancel_requested) {
      leased->cancel_requested = true;
      Session* session = sessions.find(leased->session);
      session->cancelling.insert(request.job);
      if (session->connected) {
        out->messages.push_back(
            {session->peer, 0, protocol::CancelRequested{{{request.job, leased->lease_no}}}});
      }
    }
    return reply(command, AdminAnswer{JobReply{request.job, JobState::leased, JobState::leased, {}}});
  }
  const JobFact& fact = facts.jobs.front();
  if (!fact.known) return refuse_unknown_job(command, request.job);
  finish_waiting(fact.meta, fact.state, Exit::cancelled);
  reply(command, AdminAnswer{JobReply{request.job, fact.state, JobState::gone, {}}});
}

// Now, whatever it waits for: a delay, a date, a backoff, or somebody who looks at the dead.
void Engine::State::retry(const Command& command, const command::RetryJob& request, const Facts& facts) {
  const std::string id = to_text(request.job);
  if (leases.find(request.job) != nullptr) {
    return refuse(command, Code::wrong_state,
                  fmt::format("job {0} is running already; `jobq job why {0}` says where", id));
  }
  const JobFact& fact = facts.jobs.front();
  if (!fact.known) return refuse_unknown_job(command, request.job);
  if (fact.state == JobState::dead && fact.meta.expires_at.is_set() && fact.meta.expires_at <= now.engine) {
    return refuse(command, Code::wrong_state,
                  fmt::format("job {0} is dead and past its expiry: it would not be run; `jobq dead export` "
                              "keeps its body, `jobq job cancel {0}` removes it",
                              id));
  }
  if (fact.state == JobState::scheduled) {
    // Through a timer that is due now, so that what is stored of its waiting is right.
    reschedule(fact.meta, JobState::scheduled, now.engine, Clock::engine);
    JobMeta meta = fact.meta;
    meta.due = now.engine;
    meta.due_clock = Clock::engine;
    meta.has_progress = true;
    become_due(meta);
  } else if (fact.state == JobState::dead) {
    redrive(fact.meta);
  }
  reply(command, AdminAnswer{JobReply{request.job, fact.state, JobState::ready, {}}});
}

void Engine::State::snooze(const Command& command, const command::SnoozeJob& request, const Facts& facts) {
  const std::string id = to_text(request.job);
  if (leases.find(request.job) != nullptr) {
    return refuse(command, Code::wrong_state,
                  fmt::format("job {0} is running: only its worker can put it off now; `jobq job cancel {0}` "
                              "stops it",
                              id));
  }
  const JobFact& fact = facts.jobs.front();
  if (!fact.known) return refuse_unknown_job(command, request.job);
  if (fact.state == JobState::dead) {
    return refuse(
        command, Code::wrong_state,
        fmt::format("job {0} is dead and runs at no time; `jobq job retry {0}` brings it back", id));
  }
  const bool dated = request.run_at.is_set();
  const TimeMs due = dated ? request.run_at : now.engine + request.delay;
  const std::int64_t wait_ms = dated ? (request.run_at - now.wall).ms : request.delay.ms;
  if (wait_ms < 0 || wait_ms > limits::kDelayMsMax) {
    return refuse(command, Code::bad_time,
                  wait_ms < 0 ? "that time is past; `jobq job retry` runs a job now"
                              : "that is more than ten years away");
  }
  if (fact.meta.expires_at.is_set() && now.engine + DurationMs{wait_ms} >= fact.meta.expires_at) {
    return refuse(command, Code::bad_time,
                  fmt::format("job {} expires in {} s, before that time; choose an earlier one", id,
                              (fact.meta.expires_at - now.engine).ms / 1'000));
  }
  reschedule(fact.meta, fact.state, due, dated ? Clock::wall : Clock::engine);
  reply(command, AdminAnswer{JobReply{request.job, fact.state, JobState::scheduled, due}});
}

// False: the queue was changed in this turn, and its counters are still to be written.
bool Engine::State::remove_queue(const Command& command, const command::RemoveQueue& request) {
  Queue* queue = queues.find(request.queue);
  if (queue == nullptr) {
    refuse(command, Code::no_such_queue, fmt::format("there is no queue '{}'", request.queue));
    return true;
  }
  if (queue->touched) return false;
  const QueueCounters& c = queue->counters;
  if (c.live() + c.dead > 0) {
    refuse(
        command, Code::wrong_state,
        fmt::format("queue '{0}' still has jobs: {1} ready, {2} scheduled, {3} leased, {4} dead; `jobq queue "
                    "purge {0}` and `jobq dead purge {0}` remove them",
                    queue->name, c.ready, c.scheduled, c.leased, c.dead));
    return true;
  }
  if (!queue->subscribers.empty()) {
    const std::size_t workers = queue->subscribers.size();
    refuse(command, Code::wrong_state,
           fmt::format("{} {} queue '{}' ({}): stop or drain {} first", workers,
                       workers == 1 ? "worker serves" : "workers serve", queue->name, workers_text(*queue),
                       workers == 1 ? "it" : "them"));
    return true;
  }
  for (auto& [number, task] : tasks) {
    if (task.queue == queue->number && task.state == TaskState::running)
      end_task(&task, TaskState::cancelled);
  }
  finished_jobs -= queue->finished.size();
  const RemoveQueueReply answer{queue->name};
  out->changes.emplace_back(change::RemoveQueue{queue->number});
  queues.erase(queue->number);
  reply(command, AdminAnswer{answer});
  return true;
}

void Engine::State::ask_to_leave(const Session& session) {
  if (session.connected) out->messages.push_back({session.peer, 0, protocol::DrainRequested{}});
}

void Engine::State::drain_worker(const Command& command, const command::DrainWorker& request) {
  Session* session = sessions.find(request.session);
  if (session == nullptr || !session->connected) {
    return refuse(command, Code::unknown_session,
                  fmt::format("no connected worker has session {}; `jobq worker ls` lists them",
                              request.session.value));
  }
  session->draining = true;
  session->asked_to_leave = request.tell;
  session->credit_jobs = 0;
  if (request.tell) ask_to_leave(*session);
  reply(command, AdminAnswer{DrainReply{session->number, request.tell,
                                        static_cast<std::uint32_t>(session->held.size())}});
}

}  // namespace jobq
