// The documents about single jobs and dead letters: bounded reads of the store.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "broker/server/admin.hpp"
#include "broker/server/admin_params.hpp"
#include "libjobq/protocol/codec.hpp"

namespace jobq {
namespace {

using json = nlohmann::ordered_json;

constexpr std::size_t kBodyShownMax = 64 * 1024;
constexpr std::int64_t kDeadPageDefault = 100;
constexpr std::size_t kDeadScannedMax = 20'000;  // rows looked at for one page when a filter is set

json time_or_nil(TimeMs time) { return time.is_set() && time < kNever ? json(time.ms) : json(); }

json headers_row(std::string_view packed_headers) {
  json row = json::object();
  const Result<protocol::Headers> headers = protocol::unpack_headers(packed_headers);
  if (!headers.ok()) return row;
  for (const auto& [name, value] : *headers) row[name] = value;
  return row;
}

json body_or_nil(std::string_view body) {
  if (body.size() > kBodyShownMax) return {};
  return json::binary(std::vector<std::uint8_t>(body.begin(), body.end()));
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
       {"queue",      "type",         "state",    "priority", "enqueued_at", "run_at",     "expires_at",
        "attempt",    "max_attempts", "failures", "crashes",  "snoozes",     "redrives",   "unique_key",
        "body_bytes", "body",         "lease",    "dead",     "exit",        "finished_at"}) {
    row[field] = json();
  }
  return row;
}

bool matches(const DeadJob& job, std::string_view type_name, std::optional<std::string_view> type,
             std::optional<std::string_view> error) {
  if (type && type_name != *type) return false;
  return !error || job.last_error.find(*error) != std::string::npos;
}

}  // namespace

json AdminDesk::finished_job(JobId id, const FinishedView& finished) const {
  json row = empty_job(id);
  row["queue"] = sources_.engine->queue_name(finished.queue);
  row["state"] = to_string(JobState::gone);
  row["enqueued_at"] = time_or_nil(finished.enqueued_at);
  row["finished_at"] = time_or_nil(finished.finished_at);
  row["failures"] = finished.failures;
  row["exit"] = to_string(finished.exit);
  return {{"job", std::move(row)}, {"attempts", json::array()}};
}

Result<json> AdminDesk::job_show(JobId id, const Now& now) const {
  Result<JobFact> fact = sources_.store->read_job(id);
  if (!fact.ok()) return fact.status();
  if (!fact->known) {
    if (const auto finished = sources_.engine->finished(id)) return finished_job(id, *finished);
    const Result<std::optional<FinishedJob>> stored = sources_.store->read_finished(id);
    if (!stored.ok()) return stored.status();
    if (stored->has_value()) {
      const change::AddFinished& summary = (*stored)->summary;
      return finished_job(
          id, {summary.queue, summary.exit, summary.enqueued_at, summary.finished_at, summary.failures});
    }
    if (id < sources_.engine->mark(now).next_job) {
      return Status{Code::gone,
                    fmt::format("job {} has left the broker, and how is no longer remembered; set "
                                "history_count of its queue to remember longer",
                                to_text(id))};
    }
    return Status{Code::no_such_job, fmt::format("there is no job {}, and there never was", to_text(id))};
  }

  const JobMeta& meta = fact->meta;
  const Engine& engine = *sources_.engine;
  json row = empty_job(id);
  const std::string queue(engine.queue_name(meta.lane.queue));
  const std::optional<QueueView> view = engine.queue(queue, now);
  row["queue"] = queue;
  row["type"] = engine.type_name(meta.lane.type);
  row["state"] = to_string(fact->state);
  row["priority"] = meta.lane.priority;
  row["enqueued_at"] = time_or_nil(meta.enqueued_at);
  row["run_at"] = fact->state == JobState::scheduled ? time_or_nil(meta.due) : json();
  row["expires_at"] = time_or_nil(meta.expires_at);
  row["attempt"] = meta.progress.failures + 1;
  row["max_attempts"] = meta.max_attempts != 0 || !view ? meta.max_attempts : view->settings->max_attempts;
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
  if (const auto lease = engine.lease(id)) {
    row["lease"] = {{"lease_no", lease->lease_no},
                    {"worker", lease->worker},
                    {"granted_at", time_or_nil(lease->granted_at)},
                    {"lease_until", time_or_nil(lease->lease_until)},
                    {"cancel_requested", lease->cancel_requested}};
  }
  if (fact->state == JobState::dead) {
    const Result<DeadPage> page = sources_.store->read_dead(meta.lane.queue, JobId{id.value - 1}, 1);
    if (!page.ok()) return page.status();
    if (!page->jobs.empty() && page->jobs.front().meta.id == id) {
      const DeadJob& dead = page->jobs.front();
      row["dead"] = {{"reason", to_string(dead.reason)}, {"died_at", time_or_nil(dead.died_at)}};
    }
  }
  const Result<std::vector<AttemptRecord>> attempts = sources_.store->read_attempts(id);
  if (!attempts.ok()) return attempts.status();
  json attempt_rows = json::array();
  for (const AttemptRecord& attempt : *attempts) attempt_rows.push_back(attempt_row(attempt));
  return json{{"job", std::move(row)}, {"attempts", std::move(attempt_rows)}};
}

Result<json> AdminDesk::dead_ls(const protocol::Admin& admin) const {
  AdminParams params(admin);
  params.allow_only({"queue", "after", "limit", "type", "error"});
  const std::string_view name = params.required_text("queue");
  JobId after = params.job("after").value_or(JobId{});
  const auto limit = static_cast<std::size_t>(params.number("limit", kDeadPageDefault, 1, limits::kPageMax));
  const std::optional<std::string_view> type = params.text("type"), error = params.text("error");
  if (!params.ok()) return params.status();
  const std::optional<QueueView> queue = sources_.engine->queue(name, {});
  if (!queue) return Status{Code::no_such_queue, fmt::format("there is no queue '{}'", name)};

  json rows = json::array();
  bool end = false;
  for (std::size_t scanned = 0; !end && rows.size() < limit && scanned < kDeadScannedMax;) {
    const Result<DeadPage> page = sources_.store->read_dead(queue->number, after, limits::kPageMax);
    if (!page.ok()) return page.status();
    end = page->end;
    for (const DeadJob& job : page->jobs) {
      if (rows.size() == limit) {
        end = false;
        break;
      }
      after = job.meta.id;
      ++scanned;
      const std::string_view type_name = sources_.engine->type_name(job.meta.lane.type);
      if (!matches(job, type_name, type, error)) continue;
      rows.push_back({{"id", to_text(job.meta.id)},
                      {"type", type_name},
                      {"reason", to_string(job.reason)},
                      {"died_at", time_or_nil(job.died_at)},
                      {"failures", job.meta.progress.failures},
                      {"error", job.last_error},
                      {"body_bytes", job.meta.bytes}});
    }
    if (page->jobs.empty()) end = true;
  }
  return json{{"jobs", std::move(rows)}, {"next", end ? json() : json(to_text(after))}};
}

}  // namespace jobq
