// Verbs that change something: parameters in, a command for the engine out.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "broker/server/admin.hpp"
#include "broker/server/admin_params.hpp"

namespace jobq {
namespace {

constexpr std::int64_t kAnyNumber = std::numeric_limits<std::int64_t>::max();
constexpr std::array<std::string_view, 12> kReads = {"ping",      "stats",       "queue.ls", "queue.show",
                                                     "job.show",  "job.why",     "dead.ls",  "dead.export",
                                                     "worker.ls", "worker.show", "task.ls",  "events"};

Result<std::optional<CommandBody>> finish(const AdminParams& params, CommandBody command) {
  if (!params.ok()) return params.status();
  return std::optional<CommandBody>(std::move(command));
}

Result<std::optional<CommandBody>> set_queue(const protocol::Admin& admin) {
  AdminParams params(admin);
  command::SetQueue set;
  set.queue = params.required_text("queue");
  for (const protocol::Param& param : admin.params) {
    if (param.name == "queue") continue;
    std::int64_t value = 0;
    if (const auto* flag = std::get_if<bool>(&param.value)) {
      value = *flag ? 1 : 0;
    } else if (const auto* number = std::get_if<std::int64_t>(&param.value)) {
      value = *number;
    } else {
      return Status{Code::bad_argument,
                    fmt::format("queue.set: '{}' must be a number or true or false", param.name)};
    }
    set.settings.emplace_back(param.name, value);
  }
  return finish(params, std::move(set));
}

Result<std::optional<CommandBody>> pause_queue(const protocol::Admin& admin, bool paused) {
  AdminParams params(admin);
  params.allow_only({"queue"});
  command::SetQueue set;
  set.queue = params.required_text("queue");
  set.settings = {{"paused", paused ? 1 : 0}};
  set.create = false;
  return finish(params, std::move(set));
}

DeadFilter dead_filter(AdminParams* params) {
  DeadFilter filter;
  filter.job = params->job("id").value_or(JobId{});
  if (const auto type = params->text("type")) {
    filter.type = *type;
    filter.has_type = true;
  }
  filter.error_contains = params->text("error").value_or(std::string_view{});
  filter.min_age_ms = params->number("min_age_ms", 0, 0, kAnyNumber);
  return filter;
}

Result<std::optional<CommandBody>> redrive_dead(const protocol::Admin& admin) {
  AdminParams params(admin);
  params.allow_only({"queue", "id", "type", "error", "min_age_ms", "limit", "rate", "dry_run"});
  command::RedriveDead redrive;
  redrive.queue = params.required_text("queue");
  redrive.filter = dead_filter(&params);
  redrive.limit = static_cast<std::uint64_t>(params.number("limit", 0, 0, kAnyNumber));
  redrive.rate_per_s = static_cast<std::uint32_t>(params.number("rate", 0, 0, 1'000'000));
  redrive.dry_run = params.flag("dry_run");
  return finish(params, std::move(redrive));
}

Result<std::optional<CommandBody>> purge_dead(const protocol::Admin& admin) {
  AdminParams params(admin);
  params.allow_only({"queue", "id", "type", "error", "min_age_ms"});
  command::PurgeDead purge;
  purge.queue = params.required_text("queue");
  purge.filter = dead_filter(&params);
  return finish(params, std::move(purge));
}

Result<std::optional<CommandBody>> snooze_job(const protocol::Admin& admin) {
  AdminParams params(admin);
  params.allow_only({"id", "delay_ms", "run_at"});
  command::SnoozeJob snooze{params.required_job("id"), {}, {}};
  const bool delayed = params.has("delay_ms"), dated = params.has("run_at");
  if (params.ok() && delayed == dated) {
    return Status{Code::bad_argument, "job.snooze: give either 'delay_ms' or 'run_at'"};
  }
  snooze.delay.ms = params.number("delay_ms", 0, 0, limits::kDelayMsMax);
  snooze.run_at.ms = params.number("run_at", 0, 1, kAnyNumber / 4);
  return finish(params, snooze);
}

}  // namespace

Result<std::optional<CommandBody>> AdminDesk::command_for(const protocol::Admin& admin) const {
  if (BackupDesk::knows(admin.verb) || std::find(kReads.begin(), kReads.end(), admin.verb) != kReads.end()) {
    return std::optional<CommandBody>(std::nullopt);
  }
  if (admin.verb == "queue.set") return set_queue(admin);
  if (admin.verb == "queue.pause") return pause_queue(admin, true);
  if (admin.verb == "queue.resume") return pause_queue(admin, false);
  if (admin.verb == "dead.redrive") return redrive_dead(admin);
  if (admin.verb == "dead.purge") return purge_dead(admin);
  AdminParams params(admin);
  if (admin.verb == "queue.purge") {
    params.allow_only({"queue"});
    return finish(params, command::PurgeQueue{params.required_text("queue")});
  }
  if (admin.verb == "task") {
    params.allow_only({"task"});
    return finish(params,
                  command::ShowTask{static_cast<std::uint64_t>(params.number("task", 0, 0, kAnyNumber))});
  }
  if (admin.verb == "task.cancel") {
    params.allow_only({"task"});
    return finish(params,
                  command::CancelTask{static_cast<std::uint64_t>(params.number("task", 0, 0, kAnyNumber))});
  }
  if (admin.verb == "queue.rm") {
    params.allow_only({"queue"});
    return finish(params, command::RemoveQueue{params.required_text("queue")});
  }
  if (admin.verb == "job.cancel") {
    params.allow_only({"id"});
    return finish(params, command::CancelJob{params.required_job("id")});
  }
  if (admin.verb == "job.retry") {
    params.allow_only({"id"});
    return finish(params, command::RetryJob{params.required_job("id")});
  }
  if (admin.verb == "job.snooze") return snooze_job(admin);
  if (admin.verb == "worker.drain") {
    params.allow_only({"session"});
    const SessionNo session{static_cast<std::uint64_t>(params.number("session", 0, 0, kAnyNumber))};
    command::DrainWorker drain{session, false};
    for (const SessionView& view : sources_.engine->sessions({})) {
      if (view.session == session) drain.tell = drains_on_request(view);
    }
    return finish(params, drain);
  }
  return Status{Code::unknown_verb, fmt::format("this broker knows no verb '{}'; docs/protocol.md lists them",
                                                admin.verb.substr(0, 64))};
}

}  // namespace jobq
