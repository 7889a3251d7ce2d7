#include "tests/sim/ledger.hpp"

#include <fmt/format.h>

#include <utility>
#include <variant>

namespace jobq::sim {
namespace {

bool waits(JobState state) {
  return state == JobState::ready || state == JobState::scheduled || state == JobState::dead;
}

}  // namespace

void Ledger::wrong(JobId job, std::string text) {
  violations_.push_back({"I12", job.is_set() ? to_text(job) : "", std::move(text)});
}

void Ledger::note_fault(const char* what) {
  faults::Event event = happened("fault", faults::EventType::info);
  event.err = what;
  chronicle_->write("run", std::move(event));
}

void Ledger::write(const char* op, JobId job, const char* state, LeaseNo lease_no, SessionNo session) {
  faults::Event event = happened(op, faults::EventType::ok);
  event.job = to_text(job);
  event.state = state;
  event.token = lease_no;
  event.session = session.value;
  event.wall = mark_.now.wall.ms;
  chronicle_->write("broker", std::move(event));
}

void Ledger::enter(std::span<const Change> changes, const Mark& mark) {
  ++batches_;
  mark_ = mark;
  for (const Change& change : changes) std::visit([this](const auto& what) { enter(what); }, change);
  for (const Change& change : changes)
    if (const auto* put = std::get_if<change::PutCounters>(&change)) compare(*put);
}

void Ledger::move(JobId id, JobState to) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return wrong(id, "a job changed its state before it was made");
  const auto lives = [](JobState state) {
    return state == JobState::ready || state == JobState::scheduled || state == JobState::leased;
  };
  Job& job = found->second;
  live_ += (lives(to) ? 1U : 0U);
  live_ -= (lives(job.state) ? 1U : 0U);
  dead_ += (to == JobState::dead ? 1U : 0U);
  dead_ -= (job.state == JobState::dead ? 1U : 0U);
  if (const auto from = waiting_.find(job.state); from != waiting_.end()) from->second.erase(id);
  if (waits(to)) waiting_[to].insert(id);
  --counts_[job.queue][job.state];
  ++counts_[job.queue][to];
  job.state = to;
}

void Ledger::enter(const change::Enqueue& enqueue) {
  const JobMeta& meta = enqueue.meta;
  const JobState state = meta.due.is_set() ? JobState::scheduled : JobState::ready;
  if (!jobs_.emplace(meta.id, Job{meta.lane.queue, state}).second)
    return wrong(meta.id, "an id was given out twice");
  ++counts_[meta.lane.queue][state];
  ++live_;
  waiting_[state].insert(meta.id);
  faults::Event event = happened("made", faults::EventType::ok);
  event.job = to_text(meta.id);
  event.queue = queues_[meta.lane.queue];
  event.prio = meta.lane.priority;
  event.kind = types_[meta.lane.type];
  event.state = to_string(state);
  event.wall = mark_.now.wall.ms;
  chronicle_->write("broker", std::move(event));
}

void Ledger::enter(const change::Lease& lease) {
  if (const auto job = jobs_.find(lease.job); job != jobs_.end() && job->second.state != JobState::ready)
    violations_.push_back(
        {"I5", to_text(lease.job), fmt::format("granted while it was {}", to_string(job->second.state))});
  move(lease.job, JobState::leased);
  write("granted", lease.job, "leased", lease.lease_no, lease.session);
}

void Ledger::enter(const change::Finish& finish) {
  move(finish.meta.id, JobState::gone);
  write("left", finish.meta.id, to_string(finish.exit));
}

void Ledger::enter(const change::Return& back) {
  const JobState state = back.meta.due.is_set() ? JobState::scheduled : JobState::ready;
  move(back.meta.id, state);
  write("returned", back.meta.id, to_string(state));
}

void Ledger::enter(const change::Due& due) {
  move(due.meta.id, JobState::ready);
  write("ready", due.meta.id, "ready");
}

void Ledger::enter(const change::Die& die) {
  move(die.meta.id, JobState::dead);
  write("died", die.meta.id, to_string(die.reason));
}

void Ledger::enter(const change::Redrive& redrive) {
  if (const auto job = jobs_.find(redrive.meta.id); job != jobs_.end() && job->second.state != JobState::dead)
    violations_.push_back({"I10", to_text(redrive.meta.id),
                           fmt::format("redriven while it was {}", to_string(job->second.state))});
  move(redrive.meta.id, JobState::ready);
  write("redriven", redrive.meta.id, "ready");
}

void Ledger::enter(const change::Reschedule& change) {
  move(change.meta.id, JobState::scheduled);
  write("put_off", change.meta.id, "scheduled");
}

void Ledger::enter(const change::RemoveQueue& remove) {
  faults::Event event = happened("removed", faults::EventType::ok);
  event.queue = queues_[remove.queue];
  chronicle_->write("broker", std::move(event));
}

void Ledger::write_task(const char* op, std::uint64_t task, QueueNo queue) {
  faults::Event event = happened(op, faults::EventType::ok);
  event.task = task;
  event.queue = queues_[queue];
  chronicle_->write("broker", std::move(event));
}

// Written anew with every page of jobs that it has moved.
void Ledger::enter(const change::PutTask& task) {
  if (tasks_.emplace(task.number, task.queue).second) write_task("task", task.number, task.queue);
}

void Ledger::enter(const change::RemoveTask& task) {
  if (const auto known = tasks_.extract(task.task); !known.empty())
    write_task("task_over", task.task, known.mapped());
}

void Ledger::enter(const change::PutQueue& put) { queues_[put.queue] = put.name; }
void Ledger::enter(const change::PutType& put) { types_[put.type] = put.name; }

// The engine's counts are those of the changes; totals never fall.
void Ledger::compare(const change::PutCounters& put) {
  const QueueCounters& said = put.counters;
  auto& counted = counts_[put.queue];
  const std::pair<JobState, std::uint64_t> states[] = {{JobState::ready, said.ready},
                                                       {JobState::scheduled, said.scheduled},
                                                       {JobState::leased, said.leased},
                                                       {JobState::dead, said.dead},
                                                       {JobState::gone, said.exits()}};
  for (const auto& [state, number] : states) {
    if (counted[state] == number) continue;
    wrong({}, fmt::format("queue {}: the engine counts {} {}, its changes make {}", queues_[put.queue],
                          number, to_string(state), counted[state]));
  }
  QueueCounters& last = last_counters_[put.queue];
  if (said.enqueued_total < last.enqueued_total || said.exits() < last.exits() ||
      said.failed_total < last.failed_total || said.crashed_total < last.crashed_total ||
      said.lapsed_total < last.lapsed_total || said.dead_total < last.dead_total ||
      said.duplicate_total < last.duplicate_total || said.released_total < last.released_total)
    wrong({}, fmt::format("queue {}: a total fell", queues_[put.queue]));
  last = said;
}

JobId Ledger::some_job(JobState state, std::uint64_t number) const {
  const auto found = waiting_.find(state);
  if (found == waiting_.end() || found->second.empty()) return {};
  const auto job = found->second.lower_bound(JobId{number});
  return job == found->second.end() ? *found->second.begin() : *job;
}

std::string Ledger::what_is_left() const {
  std::string text;
  for (const auto& [queue, counts] : counts_) {
    for (const JobState state : {JobState::ready, JobState::scheduled, JobState::leased}) {
      const auto found = counts.find(state);
      if (found == counts.end() || found->second == 0) continue;
      text += fmt::format("{}queue {}: {} {}", text.empty() ? "" : ", ", queues_.at(queue), found->second,
                          to_string(state));
    }
  }
  return text.empty() ? "nothing" : text;
}

}  // namespace jobq::sim
