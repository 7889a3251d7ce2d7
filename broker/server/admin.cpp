// Verbs that read, and the documents of all of them.
#include "broker/server/admin.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "broker/engine/queue_settings.hpp"
#include "broker/server/admin_params.hpp"
#include "broker/server/problems.hpp"
#include "jobq/version.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/utf8.hpp"

namespace jobq {
namespace {

using json = nlohmann::ordered_json;

// Error texts, names and headers are as workers and producers sent them.
void make_utf8(json* value) {
  if (value->is_string()) {
    auto& text = value->get_ref<std::string&>();
    if (!is_valid_utf8(text)) text = valid_utf8(text);
  } else if (value->is_array()) {
    for (json& element : *value) make_utf8(&element);
  } else if (value->is_object()) {
    json made = json::object();
    for (auto& [name, element] : value->items()) {
      make_utf8(&element);
      made[valid_utf8(name)] = std::move(element);
    }
    *value = std::move(made);
  }
}

std::string packed(json document) {
  make_utf8(&document);
  std::string bytes;
  json::to_msgpack(document, nlohmann::detail::output_adapter<char, std::string>(bytes));
  return bytes;
}

double rounded(double rate) { return std::round(rate * 100.0) / 100.0; }

json settings_row(const QueueSettings& settings) {
  json row = json::object();
  for (const SettingInfo& info : queue_setting_table()) {
    const std::int64_t value = read_setting(settings, info.name);
    row[info.name] = info.unit == SettingUnit::flag ? json(value != 0) : json(value);
  }
  return row;
}

json counters_row(const QueueCounters& c) {
  return {{"ready", c.ready},
          {"scheduled", c.scheduled},
          {"leased", c.leased},
          {"dead", c.dead},
          {"bytes", c.bytes},
          {"enqueued_total", c.enqueued_total},
          {"acked_total", c.acked_total},
          {"expired_total", c.expired_total},
          {"cancelled_total", c.cancelled_total},
          {"purged_total", c.purged_total},
          {"dropped_total", c.dropped_total},
          {"failed_total", c.failed_total},
          {"crashed_total", c.crashed_total},
          {"lapsed_total", c.lapsed_total},
          {"released_total", c.released_total},
          {"snoozed_total", c.snoozed_total},
          {"dead_total", c.dead_total},
          {"redriven_total", c.redriven_total},
          {"duplicate_total", c.duplicate_total}};
}

json store_row(const StoreHealth& health, const Config& config) {
  return {{"path", config.data},
          {"map_bytes", health.map_bytes},
          {"used_bytes", health.used_bytes},
          {"free_bytes", health.free_bytes},
          {"file_bytes", health.file_bytes},
          {"disk_free_bytes", health.disk_free_bytes},
          {"commits", health.commits},
          {"commit_us_last", health.commit_us_last},
          {"commit_us_max", health.commit_us_max},
          {"slow_commits", health.slow_commits},
          {"oldest_reader_ms", health.oldest_reader_ms},
          {"oldest_reader_pid", health.oldest_reader_pid != 0 ? json(health.oldest_reader_pid) : json()},
          {"damaged_records", health.damaged_records}};
}

}  // namespace

json AdminDesk::queue_row(const QueueView& view, const QueueRates& rates) const {
  const QueueCounters& c = *view.counters;
  const std::optional<std::int64_t> drains = drains_in_s(c.ready, rates);
  return {{"name", view.name},
          {"ready", c.ready},
          {"leased", c.leased},
          {"scheduled", c.scheduled},
          {"dead", c.dead},
          {"oldest_ready_ms", view.oldest_ready_ms ? json(*view.oldest_ready_ms) : json()},
          {"enqueued_total", c.enqueued_total},
          {"acked_total", c.acked_total},
          {"failed_total", c.failed_total},
          {"expired_total", c.expired_total},
          {"cancelled_total", c.cancelled_total},
          {"purged_total", c.purged_total},
          {"dropped_total", c.dropped_total},
          {"dead_total", c.dead_total},
          {"enqueued_per_s", rounded(rates.enqueued_per_s)},
          {"acked_per_s", rounded(rates.acked_per_s)},
          {"failed_per_s", rounded(rates.failed_per_s)},
          {"drains_in_s", drains ? json(*drains) : json()},
          {"workers", view.workers},
          {"slots", view.slots},
          {"paused", view.settings->paused}};
}

json AdminDesk::broker_row(const Now& now) const {
  const TransportStats wire = sources_.transport->stats();
  std::string incarnation;
  for (const std::uint8_t byte : sources_.incarnation) incarnation += fmt::format("{:02x}", byte);
  const Code refuse = sources_.admission->refuse;
  return {{"version", JOBQ_VERSION},
          {"pid", ::getpid()},
          {"uptime_ms", (now.engine - sources_.started_at).ms},
          {"incarnation", incarnation},
          {"endpoints", sources_.transport->endpoints()},
          {"connections", wire.connections},
          {"sessions", sources_.engine->sessions(now).size()},
          {"refusing", refuse == Code::ok ? json() : json(to_string(refuse))},
          {"turns", *sources_.turns},
          {"messages_in", wire.messages_in},
          {"messages_out", wire.messages_out},
          {"bytes_in", wire.bytes_in},
          {"bytes_out", wire.bytes_out},
          {"rejected_messages", wire.rejected_messages},
          {"cut_connections", wire.cut_connections}};
}

json AdminDesk::stats(std::optional<std::string_view> queue, const Now& now) const {
  std::vector<QueueView> views = sources_.engine->queues(now);
  if (queue) std::erase_if(views, [&](const QueueView& view) { return view.name != *queue; });
  std::vector<ObservedQueue> observed;
  json rows = json::array();
  for (const QueueView& view : views) {
    observed.push_back({&view, sources_.rates->of(view.number, now.engine)});
    rows.push_back(queue_row(view, observed.back().rates));
  }
  const StoreHealth health = sources_.store->health();
  json problems = json::array();
  for (const Problem& problem : find_problems(*sources_.config, observed, health, *sources_.admission,
                                              sources_.clock->last_jump(), now)) {
    problems.push_back({{"kind", problem.kind},
                        {"severity", problem.severity},
                        {"queue", problem.queue ? json(*problem.queue) : json()},
                        {"text", problem.text},
                        {"remedy", problem.remedy}});
  }
  return {{"broker", broker_row(now)},
          {"store", store_row(health, *sources_.config)},
          {"queues", std::move(rows)},
          {"problems", std::move(problems)}};
}

Result<json> AdminDesk::queue_show(std::string_view name, const Now& now) const {
  const std::optional<QueueView> view = sources_.engine->queue(name, now);
  if (!view) return Status{Code::no_such_queue, fmt::format("there is no queue '{}'", name)};
  return json{{"queue", queue_row(*view, sources_.rates->of(view->number, now.engine))},
              {"settings", settings_row(*view->settings)},
              {"counters", counters_row(*view->counters)}};
}

Result<std::string> AdminDesk::answer(const protocol::Admin& admin, const Now& now) {
  AdminParams params(admin);
  const auto finish = [&params](Result<json> document) -> Result<std::string> {
    if (!params.ok()) return params.status();
    if (!document.ok()) return document.status();
    return packed(*std::move(document));
  };
  if (admin.verb == "job.show") {
    params.allow_only({"id"});
    const JobId id = params.required_job("id");
    return params.ok() ? finish(job_show(id, now)) : params.status();
  }
  if (admin.verb == "job.why") {
    params.allow_only({"id"});
    const JobId id = params.required_job("id");
    return params.ok() ? finish(job_why(id, now)) : params.status();
  }
  if (admin.verb == "worker.show") {
    params.allow_only({"session"});
    const auto session = params.number("session", 0, 0, std::numeric_limits<std::int64_t>::max());
    return params.ok() ? finish(worker_show({static_cast<std::uint64_t>(session)}, now)) : params.status();
  }
  if (admin.verb == "dead.ls") return finish(dead_ls(admin, now));
  if (admin.verb == "dead.export") return finish(dead_export(admin, now));
  if (admin.verb == "events") return finish(events(admin, now));
  if (admin.verb == "task.ls") return finish(task_ls(admin));
  if (BackupDesk::knows(admin.verb)) return finish(backups_.answer(admin, now.wall));
  if (admin.verb == "queue.show") {
    params.allow_only({"queue"});
    return finish(queue_show(params.required_text("queue"), now));
  }
  if (admin.verb == "stats") {
    params.allow_only({"queue"});
    const std::optional<std::string_view> queue = params.text("queue");
    if (queue && !sources_.engine->queue(*queue, now)) {
      return Status{Code::no_such_queue, fmt::format("there is no queue '{}'", *queue)};
    }
    return finish(stats(queue, now));
  }
  params.allow_only({});
  if (admin.verb == "ping") return finish(json::object());
  if (admin.verb == "queue.ls") {
    json rows = json::array();
    for (const QueueView& view : sources_.engine->queues(now)) {
      rows.push_back(queue_row(view, sources_.rates->of(view.number, now.engine)));
    }
    return finish(json{{"queues", std::move(rows)}});
  }
  JOBQ_CHECK(admin.verb == "worker.ls", "{}", admin.verb);
  return finish(worker_ls(now));
}

std::string AdminDesk::document(const AdminAnswer& answer, const Now& now) const {
  struct Visitor {
    const AdminDesk& desk;
    const Now& now;
    json operator()(const TaskReply& task) const { return {{"task", desk.task_row(task)}}; }
    json operator()(const SetQueueReply& set) const {
      const std::string name(desk.sources_.engine->queue_name(set.queue));
      const std::optional<QueueView> view = desk.sources_.engine->queue(name, now);
      if (!view)
        return {{"queue", name}, {"created", set.created}, {"settings", json::object()}};  // Removed since.
      return {{"queue", name}, {"created", set.created}, {"settings", settings_row(*view->settings)}};
    }
    json operator()(const RemoveQueueReply& removed) const {
      return {{"queue", removed.queue}, {"removed", true}};
    }
    json operator()(const JobReply& job) const {
      return {{"job",
               {{"id", to_text(job.job)},
                {"was", to_string(job.was)},
                {"state", to_string(job.state)},
                {"run_at", job.run_at.is_set() ? json(job.run_at.ms) : json()}}}};
    }
    json operator()(const DrainReply& drain) const {
      return {{"session", drain.session.value}, {"told", drain.told}, {"busy", drain.busy}};
    }
  };
  return packed(std::visit(Visitor{*this, now}, answer));
}

}  // namespace jobq
