// The documents about dead jobs: a page of rows, and a page of whole jobs to be taken elsewhere. Each is a bounded read of
// the store, whatever the filter lets through.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "broker/server/admin.hpp"
#include "broker/server/admin_params.hpp"
#include "broker/server/admin_rows.hpp"

namespace jobq {
namespace {

using json = nlohmann::ordered_json;

constexpr std::int64_t kDeadPageDefault = 100;
constexpr std::size_t kDeadScannedMax = 20'000;  // rows looked at for one page when a filter is set
constexpr std::size_t kExportBytes = std::size_t{1} << 20;  // of bodies in one page; one job always fits

struct DeadQuestion {
  std::string_view queue;
  JobId after{};
  std::size_t limit = 0;
  std::optional<std::string_view> type, error;
  std::int64_t min_age_ms = 0;
};

Result<DeadQuestion> read_question(const protocol::Admin& admin) {
  AdminParams params(admin);
  params.allow_only({"queue", "after", "limit", "type", "error", "min_age_ms"});
  DeadQuestion question;
  question.queue = params.required_text("queue");
  question.after = params.job("after").value_or(JobId{});
  question.limit = static_cast<std::size_t>(params.number("limit", kDeadPageDefault, 1, limits::kPageMax));
  question.type = params.text("type");
  question.error = params.text("error");
  question.min_age_ms = params.number("min_age_ms", 0, 0, std::numeric_limits<std::int64_t>::max());
  if (!params.ok()) return params.status();
  return question;
}

}  // namespace

// The jobs that match, as far as one page goes; *next: where the following one begins, unset when there is none.
Result<std::vector<DeadJob>> AdminDesk::find_dead(const protocol::Admin& admin, std::size_t bytes_max,
                                                  const Now& now, std::optional<JobId>* next) const {
  const Result<DeadQuestion> question = read_question(admin);
  if (!question.ok()) return question.status();
  const std::optional<QueueView> queue = sources_.engine->queue(question->queue, now);
  if (!queue) return Status{Code::no_such_queue, fmt::format("there is no queue '{}'", question->queue)};
  const auto matches = [&](const DeadJob& job) {
    if (question->type && sources_.engine->type_name(job.meta.lane.type) != *question->type) return false;
    if (question->error && job.last_error.find(*question->error) == std::string::npos) return false;
    return question->min_age_ms == 0 || (now.engine - job.died_at).ms >= question->min_age_ms;
  };

  std::vector<DeadJob> found;
  JobId after = question->after;
  std::size_t scanned = 0, bytes = 0;
  bool end = false, full = false;
  while (!end && !full && scanned < kDeadScannedMax) {
    Result<DeadPage> page = sources_.store->read_dead(queue->number, after, limits::kPageMax);
    if (!page.ok()) return page.status();
    end = page->end || page->jobs.empty();
    for (DeadJob& job : page->jobs) {
      const bool match = matches(job);
      full = match &&
             (found.size() == question->limit || (!found.empty() && bytes + job.meta.bytes > bytes_max));
      if (full) break;
      after = job.meta.id;
      ++scanned;
      if (!match) continue;
      bytes += job.meta.bytes;
      found.push_back(std::move(job));
    }
  }
  if (full || !end) *next = after;
  return found;
}

Result<json> AdminDesk::dead_ls(const protocol::Admin& admin, const Now& now) const {
  std::optional<JobId> next;
  const Result<std::vector<DeadJob>> jobs =
      find_dead(admin, std::numeric_limits<std::size_t>::max(), now, &next);
  if (!jobs.ok()) return jobs.status();
  json rows = json::array();
  for (const DeadJob& job : *jobs) {
    rows.push_back({{"id", to_text(job.meta.id)},
                    {"type", sources_.engine->type_name(job.meta.lane.type)},
                    {"reason", to_string(job.reason)},
                    {"died_at", time_or_nil(job.died_at)},
                    {"failures", job.meta.progress.failures},
                    {"error", job.last_error},
                    {"body_bytes", job.meta.bytes}});
  }
  return json{{"jobs", std::move(rows)}, {"next", next ? json(to_text(*next)) : json()}};
}

Result<json> AdminDesk::dead_export(const protocol::Admin& admin, const Now& now) const {
  std::optional<JobId> next;
  const Result<std::vector<DeadJob>> jobs = find_dead(admin, kExportBytes, now, &next);
  if (!jobs.ok()) return jobs.status();
  json rows = json::array();
  std::vector<JobId> ids;
  for (const DeadJob& job : *jobs) {
    const JobMeta& meta = job.meta;
    ids.push_back(meta.id);
    rows.push_back({{"id", to_text(meta.id)},
                    {"queue", sources_.engine->queue_name(meta.lane.queue)},
                    {"type", sources_.engine->type_name(meta.lane.type)},
                    {"priority", meta.lane.priority},
                    {"headers", json::object()},
                    {"unique_key", json()},
                    {"max_attempts", meta.max_attempts != 0 ? json(meta.max_attempts) : json()},
                    {"max_run_ms", meta.max_run_ms != 0 ? json(meta.max_run_ms) : json()},
                    {"unique_for_ms", meta.unique_for_ms != 0 ? json(meta.unique_for_ms) : json()},
                    {"enqueued_at", time_or_nil(meta.enqueued_at)},
                    {"expires_at", time_or_nil(meta.expires_at)},
                    {"died_at", time_or_nil(job.died_at)},
                    {"reason", to_string(job.reason)},
                    {"failures", meta.progress.failures},
                    {"error", job.last_error},
                    {"body", json()}});
  }
  const Status visited = sources_.store->visit_jobs(ids, [&rows](std::size_t index, const StoredJob* job) {
    if (job == nullptr) return;  // Damaged: its body stays nil.
    json& row = rows[index];
    if (!job->unique_key.empty()) row["unique_key"] = job->unique_key;
    row["headers"] = headers_row(job->headers);
    row["body"] = binary_row(job->body.text());
  });
  if (!visited.ok()) return visited;
  return json{{"jobs", std::move(rows)}, {"next", next ? json(to_text(*next)) : json()}};
}

}  // namespace jobq
