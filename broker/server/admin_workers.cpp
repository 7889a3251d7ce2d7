// The documents about workers and about tasks.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "broker/server/admin.hpp"
#include "broker/server/admin_params.hpp"
#include "broker/server/admin_rows.hpp"

namespace jobq {
namespace {

using json = nlohmann::ordered_json;

constexpr std::size_t kJobsShown = 1'000;  // of one worker

const char* to_string(TaskState state) {
  switch (state) {
    case TaskState::running:
      return "running";
    case TaskState::done:
      return "done";
    case TaskState::cancelled:
      return "cancelled";
  }
  return "?";
}

}  // namespace

bool AdminDesk::drains_on_request(const SessionView& view) const {
  const auto features = sources_.features->find(view.peer.value);
  return view.connected && features != sources_.features->end() &&
         (features->second & protocol::kFeatureDrain) != 0;
}

json AdminDesk::worker_row(const SessionView& view) const {
  json queues = json::array();
  for (const auto& [name, weight] : view.queues) queues.push_back({{"name", name}, {"weight", weight}});
  json types = json::array();
  for (const std::string_view type : view.types) types.push_back(type);
  return {{"session", view.session.value},
          {"worker", view.worker},
          {"build", view.build},
          {"connected", view.connected},
          {"draining", view.draining || (view.connected && view.credit == 0)},
          {"drains_on_request", drains_on_request(view)},
          {"credit", view.credit},
          {"busy", view.busy},
          {"silent_ms", view.silent_ms},
          {"queues", queues},
          {"types", types}};
}

json AdminDesk::worker_ls(const Now& now) const {
  json rows = json::array();
  for (const SessionView& view : sources_.engine->sessions(now)) rows.push_back(worker_row(view));
  return {{"workers", std::move(rows)}};
}

Result<json> AdminDesk::worker_show(SessionNo session, const Now& now) const {
  const std::vector<SessionView> sessions = sources_.engine->sessions(now);
  const auto view = std::find_if(sessions.begin(), sessions.end(),
                                 [&](const SessionView& one) { return one.session == session; });
  if (view == sessions.end()) {
    return Status{Code::unknown_session,
                  fmt::format("no worker has session {}; `jobq worker ls` lists them", session.value)};
  }
  json jobs = json::array();
  for (const auto& [id, lease] : sources_.engine->held_by(session, kJobsShown)) {
    jobs.push_back({{"id", to_text(id)},
                    {"queue", sources_.engine->queue_name(lease.lane.queue)},
                    {"type", sources_.engine->type_name(lease.lane.type)},
                    {"attempt", lease.attempt},
                    {"lease_no", lease.lease_no},
                    {"granted_at", time_or_nil(lease.granted_at)},
                    {"lease_until", time_or_nil(lease.lease_until)},
                    {"cancel_requested", lease.cancel_requested}});
  }
  return json{{"worker", worker_row(*view)}, {"jobs", std::move(jobs)}};
}

json AdminDesk::task_row(const TaskReply& task) const {
  return {{"task", task.task},
          {"kind", task.kind},
          {"queue", sources_.engine->queue_name(task.queue)},
          {"state", to_string(task.state)},
          {"to_scan", task.to_scan},
          {"scanned", task.scanned},
          {"moved", task.moved},
          {"skipped_expired", task.skipped_expired},
          {"limit", task.limit},
          {"rate", task.rate_per_s},
          {"dry_run", task.dry_run},
          {"started_at", time_or_nil(task.started_at)},
          {"ended_at", time_or_nil(task.ended_at)}};
}

Result<json> AdminDesk::task_ls(const protocol::Admin& admin) const {
  AdminParams params(admin);
  params.allow_only({});
  if (!params.ok()) return params.status();
  json rows = json::array();
  for (const TaskReply& task : sources_.engine->tasks()) rows.push_back(task_row(task));
  return json{{"tasks", std::move(rows)}};
}

}  // namespace jobq
