#include "tests/store/store_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "libjobq/base/check.hpp"
#include "libjobq/base/hash.hpp"

namespace jobq {
namespace {

void promise(bool kept, const std::string& what) {
  if (!kept) throw std::logic_error("a read breaks its promise: " + what);
}

std::string text_of(const JobMeta& meta, JobState state) {
  TimeMs ready_since = meta.progress.ready_since;
  if (!meta.has_progress && state != JobState::ready) ready_since = {};
  const LeaseNo lease_no = state == JobState::leased ? 0 : meta.progress.lease_no;
  return fmt::format(
      "{} q{} t{} p{} bytes={} enqueued={} expires={} due={}/{} key={} max={}/{} unique_for={} progress={} "
      "lease_no={} failures={} crashes={} snoozes={} redrives={} attempts={} ready_since={}",
      meta.id.value, meta.lane.queue, meta.lane.type, meta.lane.priority, meta.bytes, meta.enqueued_at.ms,
      meta.expires_at.ms, meta.due.ms, static_cast<int>(meta.due_clock), meta.has_unique_key,
      meta.max_attempts, meta.max_run_ms, meta.unique_for_ms, meta.has_progress, lease_no,
      meta.progress.failures, meta.progress.crashes, meta.progress.snoozes, meta.progress.redrives,
      meta.progress.attempts_recorded, ready_since.ms);
}

std::string text_of(const AttemptRecord& attempt) {
  return fmt::format("number={} outcome={} started={} ended={} session={} worker={} error={}", attempt.number,
                     to_string(attempt.outcome), attempt.started_at.ms, attempt.ended_at.ms,
                     attempt.session.value, attempt.worker, attempt.error);
}

std::string failed(const char* read, const Status& status) {
  return fmt::format("{} FAILED: {} {}", read, to_string(status.code()), status.text());
}

void add_lanes(Store* store, const StoreNames& names, std::size_t page, std::vector<std::string>* lines) {
  for (const QueueNo queue : names.queues) {
    for (const TypeNo type : names.types) {
      for (std::uint8_t priority = 0; priority <= limits::kPriorityMax; ++priority) {
        for (const JobMeta& meta : read_whole_lane(store, {queue, type, priority}, {}, page))
          lines->push_back("ready " + text_of(meta, JobState::ready));
      }
    }
  }
}

void add_timers(Store* store, std::size_t page, std::vector<std::string>* lines) {
  for (const Clock clock : {Clock::engine, Clock::wall}) {
    TimerKey after{clock, {}, {}, {}};
    for (bool end = false; !end;) {
      const Result<TimerPage> timers = store->read_timers(clock, after, page);
      if (!timers.ok()) {
        lines->push_back(failed("read_timers", timers.status()));
        break;
      }
      for (const TimerEntry& timer : timers->timers) {
        promise(timer.key > after, "timer.key > after");
        after = timer.key;
        const bool has_job = timer.key.kind != TimerKind::unique_hold;
        // The state is not in the page; a due date says that the job is scheduled.
        const JobState state = timer.meta.due.is_set() ? JobState::scheduled : JobState::leased;
        JobMeta meta = timer.meta;
        if (!meta.has_progress) meta.progress.ready_since = {};
        lines->push_back(fmt::format("timer {} {} {} kind={} {}", static_cast<int>(clock), timer.key.at.ms,
                                     timer.key.job.value, static_cast<int>(timer.key.kind),
                                     has_job ? text_of(meta, state) : ""));
      }
      end = timers->end;
      promise(end || !timers->timers.empty(), "end || !timers->timers.empty()");
    }
  }
}

void add_dead(Store* store, const StoreNames& names, std::size_t page, std::vector<std::string>* lines) {
  for (const QueueNo queue : names.queues) {
    JobId after{};
    for (bool end = false; !end;) {
      const Result<DeadPage> dead = store->read_dead(queue, after, page);
      if (!dead.ok()) {
        lines->push_back(failed("read_dead", dead.status()));
        break;
      }
      for (const DeadJob& job : dead->jobs) {
        promise(job.meta.id > after, "job.meta.id > after");
        after = job.meta.id;
        lines->push_back(fmt::format("dead reason={} died={} error={} {}", to_string(job.reason),
                                     job.died_at.ms, job.last_error, text_of(job.meta, JobState::dead)));
      }
      end = dead->end;
      promise(end || !dead->jobs.empty(), "end || !dead->jobs.empty()");
    }
  }
}

void add_job(Store* store, JobId id, std::vector<std::string>* lines) {
  const Result<JobFact> fact = store->read_job(id);
  if (!fact.ok()) {
    lines->push_back(failed("read_job", fact.status()));
  } else if (fact->known) {
    lines->push_back(fmt::format("job {} {}", to_string(fact->state), text_of(fact->meta, fact->state)));
  }
  const auto attempts = store->read_attempts(id);
  if (!attempts.ok()) lines->push_back(failed("read_attempts", attempts.status()));
  for (std::size_t i = 0; attempts.ok() && i < attempts->size(); ++i)
    lines->push_back(fmt::format("attempt of {}: {}", id.value, text_of((*attempts)[i])));
  const auto finished = store->read_finished(id);
  if (!finished.ok()) {
    lines->push_back(failed("read_finished", finished.status()));
  } else if (finished->has_value()) {
    const change::AddFinished& row = (*finished)->summary;
    lines->push_back(fmt::format("finished {} q{} seq={} {} {} {} failures={} worker={}", row.job.value,
                                 row.queue, row.seq, to_string(row.exit), row.enqueued_at.ms,
                                 row.finished_at.ms, row.failures, row.worker));
  }
}

}  // namespace

StoreNames names_of(const LegalBatches& batches) {
  StoreNames names;
  names.mark = batches.mark();
  for (QueueNo queue = 1; queue < names.mark.next_queue; ++queue) names.queues.insert(queue);
  for (TypeNo type = 0; type < names.mark.next_type; ++type) names.types.insert(type);
  names.keys = batches.keys_used();
  return names;
}

std::vector<JobMeta> read_whole_lane(Store* store, const Lane& lane, JobId after, std::size_t page_size) {
  std::vector<JobMeta> jobs;
  for (bool end = false; !end;) {
    const Result<LanePage> page = store->read_lane(lane, after, page_size);
    promise(page.ok(), page.status().text());
    promise(page->jobs.size() <= page_size, "page->jobs.size() <= page_size");
    JobId last = after;
    for (const JobMeta& meta : page->jobs) {
      promise(meta.id > last, "meta.id > last");
      last = meta.id;
      jobs.push_back(meta);
    }
    promise(page->covered_to >= last, "page->covered_to >= last");
    end = page->end;
    promise(end || page->covered_to > after, "end || page->covered_to > after");
    after = page->covered_to;
  }
  return jobs;
}

std::vector<std::string> text_of(Store* store, const StoreNames& names, std::size_t page) {
  std::vector<std::string> lines;
  add_lanes(store, names, page, &lines);
  add_timers(store, page, &lines);
  add_dead(store, names, page, &lines);
  std::vector<JobId> ids;
  for (JobId id = names.first_job; id < names.mark.next_job; ++id.value) {
    add_job(store, id, &lines);
    ids.push_back(id);
  }
  std::size_t next = 0;
  const Status visited = store->visit_jobs(ids, [&](std::size_t index, const StoredJob* job) {
    promise(index == next++, "index == next++");
    if (job == nullptr) return;
    promise(job->meta.id == ids[index], "job->meta.id == ids[index]");
    lines.push_back(fmt::format("stored {} {:x} {:x} key={} {}", to_string(job->state), hash64(job->headers),
                                hash64(job->body.text()), job->unique_key, text_of(job->meta, job->state)));
  });
  if (!visited.ok()) lines.push_back(failed("visit_jobs", visited));
  promise(next == ids.size(), "next == ids.size()");
  for (const auto& [queue, key] : names.keys) {
    const Result<UniqueFact> fact = store->read_unique(queue, key);
    if (!fact.ok()) {
      lines.push_back(failed("read_unique", fact.status()));
    } else if (fact->held) {
      lines.push_back(fmt::format("key q{} {} holder={} {} body={:x}", queue, key, fact->holder.value,
                                  to_string(fact->state), fact->body_hash));
    }
  }
  return lines;
}

std::vector<std::string> text_of(const Recovered& recovered) {
  std::vector<std::string> lines;
  const Mark& mark = recovered.mark;
  lines.push_back(fmt::format("mark job={} session={} queue={} type={} engine={} wall={}",
                              mark.next_job.value, mark.next_session.value, mark.next_queue, mark.next_type,
                              mark.now.engine.ms, mark.now.wall.ms));
  for (const RecoveredQueue& queue : recovered.queues) {
    const QueueSettings& s = queue.settings;
    const QueueCounters& c = queue.counters;
    lines.push_back(fmt::format("queue {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {}", queue.queue,
                                queue.name, s.max_attempts, s.backoff_min_ms, s.backoff_max_ms,
                                s.backoff_factor, s.lease_ms, s.session_grace_ms, s.max_run_ms, s.crash_limit,
                                s.default_priority, s.max_jobs, s.max_bytes, s.history_count,
                                s.history_age_ms, s.dead_retention_ms, s.target_wait_ms, s.paused));
    lines.push_back(
        fmt::format("counters {} now {} {} {} {} {} exits {} {} {} {} {} {} other {} {} {} {} {} {} {} {} {}",
                    queue.queue, c.ready, c.scheduled, c.leased, c.dead, c.bytes, c.enqueued_total,
                    c.acked_total, c.expired_total, c.cancelled_total, c.purged_total, c.dropped_total,
                    c.failed_total, c.crashed_total, c.lapsed_total, c.released_total, c.snoozed_total,
                    c.dead_total, c.redriven_total, c.duplicate_total, c.finished_seq));
  }
  for (std::size_t i = 0; i < recovered.types.size(); ++i)
    lines.push_back(fmt::format("type {} {}", i, recovered.types[i]));
  for (const RecoveredLane& lane : recovered.lanes)
    lines.push_back(fmt::format("lane q{} t{} p{} ready={}", lane.lane.queue, lane.lane.type,
                                lane.lane.priority, lane.ready));
  for (const RecoveredLease& lease : recovered.leases)
    lines.push_back(fmt::format("lease {} no={} session={} granted={} {}", lease.meta.id.value,
                                lease.lease_no, lease.session.value, lease.granted_at.ms,
                                text_of(lease.meta, JobState::leased)));
  for (const RecoveredProducer& producer : recovered.producers) {
    std::string name;
    for (const std::uint8_t byte : producer.producer) name += fmt::format("{:02x}", byte);
    lines.push_back(
        fmt::format("producer {} seen={} lowest={}", name, producer.seen_at.ms, producer.lowest_open));
    for (const change::ProducerAnswer& answer : producer.answers) {
      std::string results;
      for (const protocol::EnqueueResult& result : answer.results.all())
        results += fmt::format(" [{} {} {} {} {} {}]", static_cast<int>(result.outcome), result.id.value,
                               to_string(result.state), result.body_differs, static_cast<int>(result.code),
                               result.retry_after_ms);
      lines.push_back(
          fmt::format("answer {} {} {:x}{}", name, answer.sequence, answer.content_hash, results));
    }
  }
  return lines;
}

std::string difference(const std::vector<std::string>& expected, const std::vector<std::string>& found) {
  if (expected == found) return "";
  std::vector<std::string> a = expected, b = found, missing, extra;
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(missing));
  std::set_difference(b.begin(), b.end(), a.begin(), a.end(), std::back_inserter(extra));
  std::string text = fmt::format("{} lines missing, {} lines too many\n", missing.size(), extra.size());
  if (missing.empty() && extra.empty()) text = "the same lines in another order\n";
  for (std::size_t i = 0; i < std::min<std::size_t>(missing.size(), 8); ++i) text += "- " + missing[i] + "\n";
  for (std::size_t i = 0; i < std::min<std::size_t>(extra.size(), 8); ++i) text += "+ " + extra[i] + "\n";
  return text;
}

}  // namespace jobq
