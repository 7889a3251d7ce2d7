// What each change means, and when it is legal.
#include <algorithm>
#include <iterator>

#include "broker/store/memory_store.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/hash.hpp"

namespace jobq {
namespace {

constexpr std::uint32_t kAttemptsKept = 50;  // the first ones, and as many of the last
constexpr std::size_t kTrimMax = 256;

void check_same_job(const JobMeta& stored, const JobMeta& said) {
  const bool same = stored.lane == said.lane && stored.bytes == said.bytes &&
                    stored.enqueued_at == said.enqueued_at && stored.expires_at == said.expires_at &&
                    stored.has_unique_key == said.has_unique_key &&
                    stored.max_attempts == said.max_attempts && stored.max_run_ms == said.max_run_ms &&
                    stored.unique_for_ms == said.unique_for_ms;
  JOBQ_CHECK(same, "job {}: the change describes another job than the one stored", said.id.value);
}

std::uint64_t* exit_total(QueueCounters* counters, Exit exit) {
  switch (exit) {
    case Exit::acked:
      return &counters->acked_total;
    case Exit::expired:
      return &counters->expired_total;
    case Exit::cancelled:
      return &counters->cancelled_total;
    case Exit::purged:
      return &counters->purged_total;
    case Exit::dropped:
      return &counters->dropped_total;
  }
  JOBQ_CHECK(false, "exit {}", static_cast<int>(exit));
  return nullptr;
}

std::uint64_t* state_count(QueueCounters* counters, JobState state) {
  switch (state) {
    case JobState::ready:
      return &counters->ready;
    case JobState::scheduled:
      return &counters->scheduled;
    case JobState::leased:
      return &counters->leased;
    case JobState::dead:
      return &counters->dead;
    case JobState::gone:
      break;
  }
  JOBQ_CHECK(false, "no job is stored as {}", to_string(state));
  return nullptr;
}

TimerKey due_timer(JobId id, TimeMs due, Clock clock) { return {clock, due, id, TimerKind::due}; }

}  // namespace

MemoryStore::Queue& MemoryStore::queue(QueueNo number) {
  const auto found = queues_.find(number);
  JOBQ_CHECK(found != queues_.end(), "queue {} does not exist", number);
  return found->second;
}

MemoryStore::Job& MemoryStore::job(JobId id) {
  const auto found = jobs_.find(id);
  JOBQ_CHECK(found != jobs_.end(), "job {} is not stored", id.value);
  return found->second;
}

MemoryStore::Job& MemoryStore::job_of(const JobMeta& meta, JobState state) {
  Job& found = job(meta.id);
  JOBQ_CHECK(found.state == state, "job {} is {}, not {}", meta.id.value, to_string(found.state),
             to_string(state));
  check_same_job(found.meta, meta);
  return found;
}

void MemoryStore::enter(Job* job, JobState state, TimeMs due, Clock due_clock) {
  const JobId id = job->meta.id;
  const Lane& lane = job->meta.lane;
  job->state = state;
  Queue& its_queue = queue(lane.queue);
  touched_queues_.insert(lane.queue);
  ++*state_count(&its_queue.counted, state);
  if (state != JobState::dead) its_queue.counted.bytes += job->meta.bytes;
  if (state == JobState::ready) {
    touched_lanes_.insert(lane);
    ready_[lane].insert(id);
  } else if (state == JobState::scheduled) {
    JOBQ_CHECK(due.is_set(), "job {} is scheduled for no time", id.value);
    job->due = due;
    job->due_clock = due_clock;
    timers_.emplace(due_timer(id, due, due_clock), KeyName{});
  } else if (state == JobState::leased) {
    leased_.insert(id);
  } else {
    dead_[lane.queue].insert(id);
  }
}

void MemoryStore::leave(Job* job) {
  const JobId id = job->meta.id;
  const Lane& lane = job->meta.lane;
  Queue& its_queue = queue(lane.queue);
  touched_queues_.insert(lane.queue);
  --*state_count(&its_queue.counted, job->state);
  if (job->state != JobState::dead) its_queue.counted.bytes -= job->meta.bytes;
  std::size_t erased = 0;
  if (job->state == JobState::ready) {
    touched_lanes_.insert(lane);
    erased = ready_[lane].erase(id);
  } else if (job->state == JobState::scheduled) {
    erased = timers_.erase(due_timer(id, job->due, job->due_clock));
  } else if (job->state == JobState::leased) {
    erased = leased_.erase(id);
  } else {
    erased = dead_[lane.queue].erase(id);
  }
  JOBQ_CHECK(erased == 1, "job {} was not among the {}", id.value, to_string(job->state));
}

void MemoryStore::apply(const change::PutQueue& put) {
  JOBQ_CHECK(put.queue != 0 && !put.name.empty(), "queue {} '{}'", put.queue, put.name);
  const auto known = queues_.find(put.queue);
  if (known == queues_.end()) {
    JOBQ_CHECK(put.queue >= mark_.next_queue, "queue number {} was given out before", put.queue);
    for (const auto& [number, other] : queues_)
      JOBQ_CHECK(number < put.queue && other.name != put.name, "queue {} '{}'", put.queue, put.name);
    queues_[put.queue].name = put.name;
  }
  Queue& its_queue = queues_[put.queue];
  JOBQ_CHECK(its_queue.name == put.name, "queue {} is called {}, not {}", put.queue, its_queue.name,
             put.name);
  its_queue.settings = put.settings;
}

void MemoryStore::apply(const change::RemoveQueue& remove) {
  Queue& gone = queue(remove.queue);
  JOBQ_CHECK(gone.counted.live() + gone.counted.dead == 0, "queue {} still has jobs", gone.name);
  for (const auto& [seq, row] : gone.finished) finished_by_job_.erase(row.job);
  queues_.erase(remove.queue);
  touched_queues_.erase(remove.queue);
}

void MemoryStore::apply(const change::PutType& put) {
  JOBQ_CHECK(put.type == types_.size(), "type {} after {}", put.type, types_.size() - 1);
  types_.push_back(put.name);
}

void MemoryStore::apply(const change::Enqueue& enqueue) {
  const JobMeta& meta = enqueue.meta;
  JOBQ_CHECK(meta.id >= mark_.next_job && (jobs_.empty() || jobs_.rbegin()->first < meta.id),
             "job {} does not follow the last one", meta.id.value);
  JOBQ_CHECK(meta.lane.type < types_.size() && meta.lane.priority <= limits::kPriorityMax, "job {}",
             meta.id.value);
  JOBQ_CHECK(meta.bytes == enqueue.headers.size() + enqueue.body.size(), "job {}", meta.id.value);
  JOBQ_CHECK(meta.has_unique_key == !enqueue.unique_key.empty(), "job {}", meta.id.value);
  JOBQ_CHECK(!meta.has_progress && meta.progress == JobProgress{}, "job {} is new", meta.id.value);
  Job made;
  made.meta = meta;
  made.headers = enqueue.headers;
  made.body = enqueue.body;
  made.unique_key = enqueue.unique_key;
  if (meta.has_unique_key) {
    const bool free =
        keys_.emplace(KeyName{meta.lane.queue, enqueue.unique_key}, Key{meta.id, hash64(enqueue.body), {}})
            .second;
    JOBQ_CHECK(free, "job {}: its unique key is held", meta.id.value);
  }
  if (meta.expires_at.is_set())
    timers_.emplace(TimerKey{Clock::engine, meta.expires_at, meta.id, TimerKind::expiry}, KeyName{});
  ++queue(meta.lane.queue).counted.enqueued_total;
  Job& stored = jobs_.emplace(meta.id, std::move(made)).first->second;
  enter(&stored, meta.due.is_set() ? JobState::scheduled : JobState::ready, meta.due, meta.due_clock);
}

void MemoryStore::apply(const change::Lease& lease) {
  Job& leased = job(lease.job);
  JOBQ_CHECK(leased.state == JobState::ready, "job {} is {}", lease.job.value, to_string(leased.state));
  JOBQ_CHECK(lease.lease_no == leased.lease_no + 1, "job {}: lease {} after {}", lease.job.value,
             lease.lease_no, leased.lease_no);
  JOBQ_CHECK(lease.session.is_set(), "job {} is leased to nobody", lease.job.value);
  leave(&leased);
  leased.lease_no = lease.lease_no;
  leased.session = lease.session;
  leased.granted_at = lease.granted_at;
  enter(&leased, JobState::leased, {}, {});
}

void MemoryStore::apply(const change::MoveLease& move) {
  Job& leased = job(move.job);
  JOBQ_CHECK(leased.state == JobState::leased && leased.lease_no == move.lease_no, "job {} is {} under {}",
             move.job.value, to_string(leased.state), leased.lease_no);
  leased.session = move.session;
  leased.granted_at = move.granted_at;
}

void MemoryStore::apply(const change::Finish& finish) {
  Job& done = job_of(finish.meta, finish.from);
  JOBQ_CHECK(finish.meta.has_progress == done.progress.has_value(), "job {}: its progress row",
             finish.meta.id.value);
  if (done.state == JobState::scheduled)
    JOBQ_CHECK(done.due == finish.meta.due && done.due_clock == finish.meta.due_clock,
               "job {}: its timer is at {}", finish.meta.id.value, done.due.ms);
  leave(&done);
  if (done.meta.expires_at.is_set())
    timers_.erase(TimerKey{Clock::engine, done.meta.expires_at, done.meta.id, TimerKind::expiry});
  if (done.meta.has_unique_key) {
    const KeyName name{done.meta.lane.queue, done.unique_key};
    if (finish.unique_hold_until.is_set()) {
      keys_.at(name).held_until = finish.unique_hold_until;
      timers_.emplace(TimerKey{Clock::engine, finish.unique_hold_until, done.meta.id, TimerKind::unique_hold},
                      name);
    } else {
      keys_.erase(name);
    }
  } else {
    JOBQ_CHECK(!finish.unique_hold_until.is_set(), "job {} has no unique key", finish.meta.id.value);
  }
  ++*exit_total(&queue(done.meta.lane.queue).counted, finish.exit);
  jobs_.erase(finish.meta.id);
}

void MemoryStore::keep_progress(Job* job, const JobMeta& meta) {
  JOBQ_CHECK(meta.progress.lease_no == job->lease_no, "job {}: lease {} was the last, not {}", meta.id.value,
             job->lease_no, meta.progress.lease_no);
  JOBQ_CHECK(meta.progress.attempts_recorded == job->attempts_recorded, "job {}: {} attempts are recorded",
             meta.id.value, job->attempts_recorded);
  job->progress = meta.progress;
}

void MemoryStore::add_attempt(Job* job, const std::optional<AttemptRecord>& attempt, const JobMeta& meta) {
  if (!attempt) return;
  JOBQ_CHECK(attempt->number == job->attempts_recorded + 1, "job {}: attempt {} after {}", meta.id.value,
             attempt->number, job->attempts_recorded);
  JOBQ_CHECK(attempt->error.size() <= limits::kErrorTextBytesMax, "job {}", meta.id.value);
  job->attempts_recorded = attempt->number;
  job->attempts[attempt->number] = *attempt;
  if (attempt->number > 2 * kAttemptsKept) job->attempts.erase(attempt->number - kAttemptsKept);
}

void MemoryStore::apply(const change::Return& back) {
  Job& returned = job_of(back.meta, JobState::leased);
  add_attempt(&returned, back.attempt, back.meta);
  keep_progress(&returned, back.meta);
  leave(&returned);
  enter(&returned, back.meta.due.is_set() ? JobState::scheduled : JobState::ready, back.meta.due,
        back.meta.due_clock);
}

void MemoryStore::apply(const change::Reschedule& move) {
  const bool was_ready = !move.old_due.is_set();
  Job& moved = job_of(move.meta, was_ready ? JobState::ready : JobState::scheduled);
  JOBQ_CHECK(was_ready || (moved.due == move.old_due && moved.due_clock == move.old_clock),
             "job {}: its timer is at {}", move.meta.id.value, moved.due.ms);
  keep_progress(&moved, move.meta);
  leave(&moved);
  enter(&moved, JobState::scheduled, move.meta.due, move.meta.due_clock);
}

void MemoryStore::apply(const change::Due& due) {
  Job& ready = job_of(due.meta, JobState::scheduled);
  JOBQ_CHECK(ready.due == due.meta.due && ready.due_clock == due.meta.due_clock, "job {}: its timer is at {}",
             due.meta.id.value, ready.due.ms);
  leave(&ready);
  enter(&ready, JobState::ready, {}, {});
}

void MemoryStore::apply(const change::Die& die) {
  Job& dead = job_of(die.meta, JobState::leased);
  add_attempt(&dead, die.attempt, die.meta);
  keep_progress(&dead, die.meta);
  leave(&dead);
  dead.dead_reason = die.reason;
  dead.died_at = die.died_at;
  enter(&dead, JobState::dead, {}, {});
  ++queue(die.meta.lane.queue).counted.dead_total;
}

void MemoryStore::apply(const change::Redrive& redrive) {
  Job& back = job_of(redrive.meta, JobState::dead);
  keep_progress(&back, redrive.meta);
  leave(&back);
  enter(&back, JobState::ready, {}, {});
  ++queue(redrive.meta.lane.queue).counted.redriven_total;
}

void MemoryStore::apply(const change::ReleaseUnique& release) {
  JOBQ_CHECK(release.timer.kind == TimerKind::unique_hold, "job {}", release.timer.job.value);
  const auto timer = timers_.find(release.timer);
  JOBQ_CHECK(timer != timers_.end(), "job {}: no key is held until {}", release.timer.job.value,
             release.timer.at.ms);
  const auto key = keys_.find(timer->second);
  JOBQ_CHECK(key != keys_.end() && key->second.holder == release.timer.job, "job {}",
             release.timer.job.value);
  keys_.erase(key);
  timers_.erase(timer);
}

void MemoryStore::apply(const change::PutCounters& put) {
  JOBQ_CHECK(counted_queues_.insert(put.queue).second, "queue {}: its counters come twice", put.queue);
  queue(put.queue).counters = put.counters;
  touched_queues_.insert(put.queue);
}

void MemoryStore::apply(const change::PutLane& put) {
  queue(put.lane.queue);
  touched_lanes_.insert(put.lane);
  if (put.ready == 0) {
    lane_rows_.erase(put.lane);
  } else {
    lane_rows_[put.lane] = put.ready;
  }
}

void MemoryStore::apply(const change::AddFinished& add) {
  Queue& its_queue = queue(add.queue);
  JOBQ_CHECK(its_queue.finished.empty() || its_queue.finished.rbegin()->first < add.seq,
             "queue {}: finished job {} comes too late", its_queue.name, add.seq);
  its_queue.finished.emplace(add.seq, add);
  const bool first = finished_by_job_.emplace(add.job, std::pair{add.queue, add.seq}).second;
  JOBQ_CHECK(first, "job {} finishes twice", add.job.value);
}

// From the oldest on, up to the first that may stay.
void MemoryStore::apply(const change::TrimFinished& trim) {
  auto& finished = queue(trim.queue).finished;
  for (std::size_t n = 0; n < kTrimMax && !finished.empty(); ++n) {
    const auto oldest = finished.begin();
    if (oldest->first >= trim.below_seq && oldest->second.finished_at >= trim.older_than) return;
    finished_by_job_.erase(oldest->second.job);
    finished.erase(oldest);
  }
}

void MemoryStore::apply(const change::PutProducer& put) {
  RecoveredProducer& producer = producers_[put.producer];
  JOBQ_CHECK(put.lowest_open >= producer.lowest_open, "lowest_open goes back to {}", put.lowest_open);
  producer.producer = put.producer;
  producer.seen_at = put.seen_at;
  producer.lowest_open = put.lowest_open;
  std::map<std::uint64_t, change::ProducerAnswer> answers;
  for (auto& answer : producer.answers) answers.emplace(answer.sequence, std::move(answer));
  for (const auto& answer : put.answers)
    JOBQ_CHECK(answers.emplace(answer.sequence, answer).second, "sequence {} is answered twice",
               answer.sequence);
  answers.erase(answers.begin(), answers.lower_bound(put.lowest_open));
  producer.answers.clear();
  for (auto& [sequence, answer] : answers) producer.answers.push_back(std::move(answer));
}

void MemoryStore::apply(const change::ForgetProducer& forget) { producers_.erase(forget.producer); }

void MemoryStore::check_counters(const Queue& its_queue) const {
  const QueueCounters& said = its_queue.counters;
  const QueueCounters& counted = its_queue.counted;
  const auto same = [&](std::uint64_t QueueCounters::*field, const char* name) {
    JOBQ_CHECK(said.*field == counted.*field, "queue {}: {} is {} and was written as {}", its_queue.name,
               name, counted.*field, said.*field);
  };
  same(&QueueCounters::ready, "ready");
  same(&QueueCounters::scheduled, "scheduled");
  same(&QueueCounters::leased, "leased");
  same(&QueueCounters::dead, "dead");
  same(&QueueCounters::bytes, "bytes");
  same(&QueueCounters::enqueued_total, "enqueued_total");
  same(&QueueCounters::acked_total, "acked_total");
  same(&QueueCounters::expired_total, "expired_total");
  same(&QueueCounters::cancelled_total, "cancelled_total");
  same(&QueueCounters::purged_total, "purged_total");
  same(&QueueCounters::dropped_total, "dropped_total");
  same(&QueueCounters::dead_total, "dead_total");
  same(&QueueCounters::redriven_total, "redriven_total");
  JOBQ_CHECK(said.balanced(), "queue {}: enqueued is not states and exits", its_queue.name);
}

void MemoryStore::check_end_of_batch(const Mark& mark) {
  for (const QueueNo number : touched_queues_) check_counters(queue(number));
  for (const Lane& lane : touched_lanes_) {
    const auto row = lane_rows_.find(lane);
    const std::uint64_t said = row == lane_rows_.end() ? 0 : row->second;
    const std::uint64_t counted = ready_[lane].size();
    JOBQ_CHECK(said == counted, "queue {} type {} priority {}: {} ready jobs, written as {}", lane.queue,
               lane.type, lane.priority, counted, said);
    if (counted == 0) ready_.erase(lane);
  }
  const JobId last = jobs_.empty() ? JobId{} : jobs_.rbegin()->first;
  JOBQ_CHECK(mark.next_job > last && mark.next_job >= mark_.next_job, "next job {}", mark.next_job.value);
  JOBQ_CHECK(mark.next_session >= mark_.next_session, "next session {}", mark.next_session.value);
  const QueueNo last_queue = queues_.empty() ? 0 : queues_.rbegin()->first;
  JOBQ_CHECK(mark.next_queue > last_queue && mark.next_queue >= mark_.next_queue, "next queue {}",
             mark.next_queue);
  JOBQ_CHECK(mark.next_type == types_.size(), "next type {}", mark.next_type);
  JOBQ_CHECK(mark.now.engine >= mark_.now.engine, "the engine clock goes back to {}", mark.now.engine.ms);
}

}  // namespace jobq
