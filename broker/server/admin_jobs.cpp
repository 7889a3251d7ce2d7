// The documents about single jobs: bounded reads of the store.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "broker/server/admin.hpp"
#include "broker/server/admin_rows.hpp"

namespace jobq {
namespace {

using json = nlohmann::ordered_json;

constexpr std::size_t kBodyShownMax = std::size_t{64} << 10;

json body_or_nil(const StoredBody& body) {
  if (body.size() > kBodyShownMax) return {};
  return binary_row(body.text());
}

json attempt_row(const AttemptRecord& attempt) {
  return {{"number", attempt.number},
          {"outcome", to_string(attempt.outcome)},
          {"started_at", time_or_nil(attempt.started_at)},
          {"ended_at", time_or_nil(attempt.ended_at)},
          {"worker", attempt.worker},
          {"error", attempt.error}};
}

// Every field that a job document has, as those of a job of which nothing is known any more but its id.
json empty_job(JobId id) {
  json row = {{"id", to_text(id)}, {"headers", json::object()}};
  for (const char* field :
       {"queue",       "type",       "state",       "priority",     "enqueued_at", "run_at",
        "ready_since", "expires_at", "attempt",     "max_attempts", "failures",    "crashes",
        "snoozes",     "redrives",   "unique_key",  "body_bytes",   "body",        "lease",
        "dead",        "exit",       "finished_at", "finished_by"}) {
    row[field] = json();
  }
  return row;
}

}  // namespace

json AdminDesk::finished_job(JobId id, const FinishedView& finished, const std::string& finished_by) const {
  json row = empty_job(id);
  row["queue"] = sources_.engine->queue_name(finished.queue);
  row["state"] = to_string(JobState::gone);
  row["enqueued_at"] = time_or_nil(finished.enqueued_at);
  row["finished_at"] = time_or_nil(finished.finished_at);
  row["failures"] = finished.failures;
  row["exit"] = to_string(finished.exit);
  if (!finished_by.empty()) row["finished_by"] = finished_by;
  json why = {{"kind", to_string(finished.exit)},
              {"text", fmt::format("it has left: {}", to_string(finished.exit))},
              {"remedy", json()},
              {"since", time_or_nil(finished.finished_at)},
              {"until", json()}};
  return {{"job", std::move(row)}, {"attempts", json::array()}, {"why", json::array({std::move(why)})}};
}

Result<AdminDesk::KnownJob> AdminDesk::look_at(JobId id, const Now& now) const {
  KnownJob known;
  Result<JobFact> fact = sources_.store->read_job(id);
  if (!fact.ok()) return fact.status();
  known.fact = *fact;
  if (!fact->known) return known;
  const JobMeta& meta = fact->meta;
  known.lease = sources_.engine->lease(id);
  const auto queue = sources_.engine->queue(sources_.engine->queue_name(meta.lane.queue), now);
  known.max_attempts = meta.max_attempts != 0 || !queue ? meta.max_attempts : queue->settings->max_attempts;
  if (fact->state == JobState::dead) {
    Result<DeadPage> page = sources_.store->read_dead(meta.lane.queue, JobId{id.value - 1}, 1);
    if (!page.ok()) return page.status();
    if (!page->jobs.empty() && page->jobs.front().meta.id == id) known.dead = std::move(page->jobs.front());
  }
  Result<std::vector<AttemptRecord>> attempts = sources_.store->read_attempts(id);
  if (!attempts.ok()) return attempts.status();
  known.attempts = *std::move(attempts);
  return known;
}

// Of a job that is not stored: what is remembered of its end.
Result<json> AdminDesk::left_job(JobId id, const Now& now) const {
  const auto finished = sources_.engine->finished(id);
  const Result<std::optional<FinishedJob>> stored = sources_.store->read_finished(id);
  if (!stored.ok()) return stored.status();
  if (stored->has_value()) {
    const change::AddFinished& summary = (*stored)->summary;
    return finished_job(
        id, {summary.queue, summary.exit, summary.enqueued_at, summary.finished_at, summary.failures},
        summary.worker);
  }
  if (finished) return finished_job(id, *finished, {});
  if (id < sources_.engine->mark(now).next_job) {
    return Status{Code::gone, fmt::format("job {} has left the broker, and how is no longer remembered; set "
                                          "history_count of its queue to remember longer",
                                          to_text(id))};
  }
  return Status{Code::no_such_job, fmt::format("there is no job {}, and there never was", to_text(id))};
}

Result<json> AdminDesk::job_show(JobId id, const Now& now) const {
  Result<KnownJob> known = look_at(id, now);
  if (!known.ok()) return known.status();
  if (!known->fact.known) return left_job(id, now);
  const JobMeta& meta = known->fact.meta;
  const JobState state = known->fact.state;
  json row = empty_job(id);
  row["queue"] = sources_.engine->queue_name(meta.lane.queue);
  row["type"] = sources_.engine->type_name(meta.lane.type);
  row["state"] = to_string(state);
  row["priority"] = meta.lane.priority;
  row["enqueued_at"] = time_or_nil(meta.enqueued_at);
  row["run_at"] = state == JobState::scheduled ? time_or_nil(meta.due) : json();
  row["ready_since"] =
      state == JobState::ready ? time_or_nil(std::max(meta.enqueued_at, meta.progress.ready_since)) : json();
  row["expires_at"] = time_or_nil(meta.expires_at);
  row["attempt"] = meta.progress.failures + 1;
  row["max_attempts"] = known->max_attempts;
  row["failures"] = meta.progress.failures;
  row["crashes"] = meta.progress.crashes;
  row["snoozes"] = meta.progress.snoozes;
  row["redrives"] = meta.progress.redrives;
  const Status visited =
      sources_.store->visit_jobs(std::span(&id, 1), [&row](std::size_t, const StoredJob* job) {
        if (job == nullptr) return;
        if (!job->unique_key.empty()) row["unique_key"] = job->unique_key;
        row["body_bytes"] = job->body.size();
        row["headers"] = headers_row(job->headers);
        row["body"] = body_or_nil(job->body);
      });
  if (!visited.ok()) return visited;
  if (const auto& lease = known->lease) {
    row["lease"] = {{"lease_no", lease->lease_no},
                    {"worker", lease->worker},
                    {"granted_at", time_or_nil(lease->granted_at)},
                    {"lease_until", time_or_nil(lease->lease_until)},
                    {"lost", lease->lost},
                    {"cancel_requested", lease->cancel_requested}};
  }
  if (known->dead) {
    row["dead"] = {{"reason", to_string(known->dead->reason)},
                   {"died_at", time_or_nil(known->dead->died_at)}};
  }
  json attempt_rows = json::array();
  for (const AttemptRecord& attempt : known->attempts) attempt_rows.push_back(attempt_row(attempt));
  return json{{"job", std::move(row)}, {"attempts", std::move(attempt_rows)}, {"why", why(*known, now)}};
}

Result<json> AdminDesk::job_why(JobId id, const Now& now) const {
  const Result<KnownJob> known = look_at(id, now);
  if (!known.ok()) return known.status();
  json row = {{"id", to_text(id)}};
  json reasons;
  if (known->fact.known) {
    const Lane& lane = known->fact.meta.lane;
    row["queue"] = sources_.engine->queue_name(lane.queue);
    row["type"] = sources_.engine->type_name(lane.type);
    row["state"] = to_string(known->fact.state);
    reasons = why(*known, now);
  } else {
    const Result<json> left = left_job(id, now);
    if (!left.ok()) return left.status();
    for (const char* field : {"queue", "type", "state"}) row[field] = left->at("job").at(field);
    reasons = left->at("why");
  }
  return json{{"job", std::move(row)}, {"why", std::move(reasons)}};
}

}  // namespace jobq
