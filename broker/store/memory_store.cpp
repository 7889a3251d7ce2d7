#include "broker/store/memory_store.hpp"

#include <algorithm>

#include "libjobq/base/check.hpp"
#include "libjobq/base/hash.hpp"
#include "libjobq/base/prng.hpp"

namespace jobq {

MemoryStore::MemoryStore(std::uint64_t seed) {
  Prng prng{seed};
  for (auto& byte : incarnation_) byte = static_cast<std::uint8_t>(prng.below(256));
  secret_ = prng.next();
}

Result<Recovered> MemoryStore::recover() {
  JOBQ_CHECK(!recovered_, "recover() is called once, before anything else");
  recovered_ = true;
  last_batch_ = 0;
  Recovered found;
  found.incarnation = incarnation_;
  found.secret = secret_;
  found.mark = mark_;
  for (const auto& [number, queue] : queues_)
    found.queues.push_back({number, queue.name, queue.settings, queue.counters});
  found.types = types_;
  for (const auto& [lane, ready] : lane_rows_) found.lanes.push_back({lane, ready});
  for (const JobId id : leased_) {
    const Job& leased = job(id);
    found.leases.push_back({meta_of(leased), leased.lease_no, leased.session, leased.granted_at});
  }
  for (const auto& [id, producer] : producers_) found.producers.push_back(producer);
  for (const auto& [number, task] : tasks_) found.tasks.push_back(task);
  found.next_task = next_task_;
  return found;
}

Result<BatchNo> MemoryStore::submit(std::span<const Change> changes, const Mark& mark) {
  JOBQ_CHECK(recovered_, "recover() comes first");
  touched_queues_.clear();
  counted_queues_.clear();
  touched_lanes_.clear();
  for (const Change& change : changes) std::visit([this](const auto& one) { apply(one); }, change);
  check_end_of_batch(mark);
  mark_ = mark;
  return ++last_batch_;
}

void MemoryStore::apply(const change::PutTask& put) {
  tasks_[put.number] = put;
  next_task_ = std::max(next_task_, put.number + 1);
}

void MemoryStore::apply(const change::RemoveTask& remove) {
  JOBQ_CHECK(tasks_.erase(remove.task) == 1, "task {}", remove.task);
}

Result<BatchNo> MemoryStore::completed(bool /*wait*/) { return last_batch_; }

// What the comment above LanePage says of every JobMeta that a store hands out.
JobMeta MemoryStore::meta_of(const Job& job) const {
  JobMeta meta = job.meta;
  meta.has_progress = job.progress.has_value();
  meta.progress = job.progress.value_or(JobProgress{});
  meta.due = {};
  meta.due_clock = Clock::engine;
  if (job.state == JobState::scheduled) {
    meta.due = job.due;
    meta.due_clock = job.due_clock;
  }
  if (job.state == JobState::ready && !meta.has_progress) meta.progress.ready_since = job.meta.due;
  return meta;
}

Result<LanePage> MemoryStore::read_lane(const Lane& lane, JobId after, std::size_t limit) {
  LanePage page;
  page.covered_to = after;
  const auto found = ready_.find(lane);
  if (found != ready_.end()) {
    for (auto id = found->second.upper_bound(after); id != found->second.end(); ++id) {
      if (page.jobs.size() == limit) return page;
      page.jobs.push_back(meta_of(job(*id)));
      page.covered_to = *id;
    }
  }
  page.end = true;
  page.covered_to = std::max(after, JobId{mark_.next_job.value - 1});
  return page;
}

Result<TimerPage> MemoryStore::read_timers(Clock clock, const TimerKey& after, std::size_t limit) {
  TimerPage page;
  TimerKey from = after;
  from.clock = clock;
  for (auto timer = timers_.upper_bound(from); timer != timers_.end() && timer->first.clock == clock;
       ++timer) {
    if (page.timers.size() == limit) return page;
    TimerEntry entry{timer->first, {}};
    if (entry.key.kind != TimerKind::unique_hold) entry.meta = meta_of(job(entry.key.job));
    page.timers.push_back(entry);
  }
  page.end = true;
  return page;
}

Result<DeadPage> MemoryStore::read_dead(QueueNo queue, JobId after, std::size_t limit) {
  DeadPage page;
  const auto found = dead_.find(queue);
  if (found != dead_.end()) {
    for (auto id = found->second.upper_bound(after); id != found->second.end(); ++id) {
      if (page.jobs.size() == limit) return page;
      const Job& dead = job(*id);
      const std::string error = dead.attempts.empty() ? "" : dead.attempts.rbegin()->second.error;
      page.jobs.push_back({meta_of(dead), dead.dead_reason, dead.died_at, error});
    }
  }
  page.end = true;
  return page;
}

Result<JobFact> MemoryStore::read_job(JobId id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return JobFact{};
  return JobFact{true, found->second.state, meta_of(found->second)};
}

Result<UniqueFact> MemoryStore::read_unique(QueueNo queue, std::string_view key) {
  const auto found = keys_.find({queue, std::string{key}});
  if (found == keys_.end()) return UniqueFact{};
  const Key& held = found->second;
  const JobState state = held.held_until.is_set() ? JobState::gone : job(held.holder).state;
  return UniqueFact{true, held.holder, state, held.body_hash};
}

Result<std::vector<AttemptRecord>> MemoryStore::read_attempts(JobId id) {
  std::vector<AttemptRecord> attempts;
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return attempts;
  for (const auto& [number, attempt] : found->second.attempts) attempts.push_back(attempt);
  return attempts;
}

Result<std::optional<FinishedJob>> MemoryStore::read_finished(JobId id) {
  const auto found = finished_by_job_.find(id);
  if (found == finished_by_job_.end()) return std::optional<FinishedJob>{};
  const auto& [number, seq] = found->second;
  return std::optional<FinishedJob>{FinishedJob{queue(number).finished.at(seq)}};
}

Status MemoryStore::visit_piece(JobId job, BodyPiece piece, const Visit& visit) {
  return visit_jobs(std::span(&job, 1), [&](std::size_t index, const StoredJob* stored) {
    if (stored == nullptr) return visit(index, nullptr);
    const std::string_view body = stored->body.parts().front();
    StoredJob part = *stored;
    part.body = StoredBody(body.substr(std::min<std::size_t>(piece.from, body.size()), piece.bytes));
    visit(index, &part);
  });
}

Status MemoryStore::visit_jobs(std::span<const JobId> jobs, const Visit& visit) {
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const auto found = jobs_.find(jobs[i]);
    if (found == jobs_.end()) {
      visit(i, nullptr);
      continue;
    }
    const Job& job = found->second;
    const StoredJob stored{meta_of(job), job.state, job.headers, StoredBody(job.body), job.unique_key};
    visit(i, &stored);
  }
  return {};
}

StoreHealth MemoryStore::health() {
  StoreHealth health;
  health.map_bytes = std::uint64_t{1} << 40;
  health.disk_free_bytes = std::uint64_t{1} << 40;
  health.commits = last_batch_;
  for (const auto& [id, job] : jobs_) health.used_bytes += sizeof(Job) + job.meta.bytes;
  return health;
}

Status MemoryStore::backup(const std::string& path) {
  return {Code::not_supported, "the store in memory cannot be copied to " + path};
}

}  // namespace jobq
