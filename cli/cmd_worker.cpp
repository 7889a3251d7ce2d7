// jobq worker ls|show|drain
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/broker_link.hpp"
#include "cli/command.hpp"
#include "cli/duration.hpp"
#include "cli/exit_codes.hpp"
#include "cli/instant.hpp"
#include "cli/interrupt.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {
namespace {

struct WorkerOptions {
  std::string worker;
  std::vector<std::string> workers;
  bool all = false, wait = false;
};

std::string queues_of(const Json& worker) {
  std::string text;
  for (const Json& queue : array_at(worker, "queues")) {
    if (!text.empty()) text += ' ';
    text += text_at(queue, "name");
    if (const auto weight = int_at(queue, "weight", 1); weight != 1) text += fmt::format(":{}", weight);
  }
  if (array_at(worker, "types").empty()) return text;
  std::string types;
  for (const Json& type : array_at(worker, "types")) {
    if (type.is_string()) types += (types.empty() ? "" : ",") + printable(type.get<std::string>());
  }
  return fmt::format("{} (types {})", text, types);
}

const char* state_of(const Json& worker) {
  if (!bool_at(worker, "connected")) return "lost";
  if (bool_at(worker, "draining") || int_at(worker, "credit") == 0) return "draining";
  return int_at(worker, "busy") > 0 ? "working" : "idle";
}

int list(const Globals& globals) {
  BrokerLink link(globals);
  const Result<Json> answer = link.ask("worker.ls");
  if (!answer.ok()) return link.fail(answer.status());
  if (globals.json) {
    print_json(*answer);
    return kExitOk;
  }
  const Json& workers = array_at(*answer, "workers");
  if (workers.empty()) {
    std::fputs("no workers are connected\n", stdout);
    return kExitOk;
  }
  Table table({{"SESSION", Align::right},
               {"WORKER", Align::left},
               {"STATE", Align::left},
               {"BUSY", Align::right},
               {"SLOTS", Align::right},
               {"HEARD", Align::right},
               {"BUILD", Align::left},
               {"QUEUES", Align::left}});
  for (const Json& worker : workers) {
    table.add({std::to_string(int_at(worker, "session")), text_at(worker, "worker", "?"), state_of(worker),
               group_digits(int_at(worker, "busy")), group_digits(int_at(worker, "credit")),
               format_duration(int_at(worker, "silent_ms")) + " ago", text_at(worker, "build", "-"),
               queues_of(worker)});
  }
  std::fputs(table.render(stdout_width(), bold_on()).c_str(), stdout);
  return kExitOk;
}

// A session's number, the whole "name@host:pid", or as much of its beginning as ends at a mark: "mailer",
// "mailer@web-1".
bool is_called(const Json& worker, const std::string& text) {
  if (std::to_string(int_at(worker, "session")) == text) return true;
  const std::string name = raw_text_at(worker, "worker");
  if (!name.starts_with(text)) return false;
  return name.size() == text.size() || name[text.size()] == '@' || name[text.size()] == ':';
}

// The workers that each of the texts names; one text must name one worker unless `all`. nullopt: complained about.
std::optional<std::vector<Json>> find_workers(const Json& workers, const std::vector<std::string>& texts,
                                              bool all) {
  std::vector<Json> found;
  for (const std::string& text : texts) {
    std::vector<Json> here;
    std::string names;
    for (const Json& worker : workers) {
      if (!is_called(worker, text)) continue;
      here.push_back(worker);
      names += fmt::format("{}{} (session {})", names.empty() ? "" : ", ", text_at(worker, "worker", "?"),
                           int_at(worker, "session"));
    }
    if (here.empty()) {
      complain(
          fmt::format("no worker is called '{}'; `jobq worker ls` lists them (give a session's number, "
                      "NAME@HOST:PID or NAME)",
                      printable(text)));
      return std::nullopt;
    }
    if (here.size() > 1 && !all) {
      complain(fmt::format("'{}' names {} workers: {}; give one of the sessions, or --all", printable(text),
                           here.size(), names));
      return std::nullopt;
    }
    for (Json& worker : here) {
      if (std::find(found.begin(), found.end(), worker) == found.end()) found.push_back(std::move(worker));
    }
  }
  return found;
}

int show(const Globals& globals, const WorkerOptions& options) {
  BrokerLink link(globals);
  const Result<Json> all = link.ask("worker.ls");
  if (!all.ok()) return link.fail(all.status());
  const auto found = find_workers(array_at(*all, "workers"), {options.worker}, false);
  if (!found) return kExitRefused;
  const Result<Json> answer = link.ask("worker.show", {{"session", int_at(found->front(), "session")}});
  if (!answer.ok()) return link.fail(answer.status());
  if (globals.json) {
    print_json(*answer);
    return kExitOk;
  }
  const Json& worker = object_at(*answer, "worker");
  const bool asked = bool_at(worker, "drains_on_request");
  fmt::print("{}  {}, {} of {} busy, heard {} ago\n", ink(Ink::bold, text_at(worker, "worker", "?")),
             state_of(worker), group_digits(int_at(worker, "busy")),
             count_of(int_at(worker, "credit"), "slot", "slots"),
             format_duration(int_at(worker, "silent_ms")));
  fmt::print("  session  {}\n  build    {}\n  queues   {}\n  drain    {}\n", int_at(worker, "session"),
             text_at(worker, "build", "-").empty() ? "-" : text_at(worker, "build", "-"), queues_of(worker),
             asked ? "on request (`jobq worker drain`)" : "its library cannot be asked; send it SIGTERM");
  const Json& jobs = array_at(*answer, "jobs");
  if (jobs.empty()) return kExitOk;
  Table table({{"JOB", Align::left},
               {"QUEUE", Align::left},
               {"TYPE", Align::left},
               {"ATTEMPT", Align::right},
               {"RUNS FOR", Align::right},
               {"LEASE FOR", Align::right},
               {"", Align::left}});
  const TimeMs now = wall_now();
  for (const Json& job : jobs) {
    const auto until = maybe_int_at(job, "lease_until");
    table.add({text_at(job, "id"), text_at(job, "queue"), text_at(job, "type", "-"),
               std::to_string(int_at(job, "attempt")),
               format_duration(std::max<std::int64_t>(0, now.ms - int_at(job, "granted_at"))),
               until ? format_duration(*until - now.ms) : "-",
               bool_at(job, "cancel_requested") ? "asked to stop" : ""});
  }
  fmt::print("\n{}", table.render(stdout_width(), bold_on()));
  return kExitOk;
}

// Until all of them have left; the exit code.
int wait_until_gone(BrokerLink* link, std::vector<std::int64_t> sessions) {
  catch_interrupts();
  Progress progress;
  for (;;) {
    const Result<Json> answer = link->ask("worker.ls");
    if (!answer.ok()) return link->fail(answer.status());
    std::int64_t busy = 0;
    std::vector<std::int64_t> left;
    for (const Json& worker : array_at(*answer, "workers")) {
      const auto session = int_at(worker, "session");
      if (std::find(sessions.begin(), sessions.end(), session) == sessions.end()) continue;
      left.push_back(session);
      busy += int_at(worker, "busy");
    }
    if (left.empty()) return kExitOk;
    sessions = left;
    if (interrupted()) {
      complain(fmt::format("{} still there; the drain goes on",
                           count_of(static_cast<std::int64_t>(left.size()), "worker is", "workers are")));
      return kExitInterrupted;
    }
    progress.show(fmt::format("waiting for {}, with {}",
                              count_of(static_cast<std::int64_t>(left.size()), "worker", "workers"),
                              count_of(busy, "job", "jobs")));
    wait_interruptible(DurationMs{200});
  }
}

int drain(const Globals& globals, const WorkerOptions& options) {
  BrokerLink link(globals);
  const Result<Json> all = link.ask("worker.ls");
  if (!all.ok()) return link.fail(all.status());
  const auto found = find_workers(array_at(*all, "workers"), options.workers, options.all);
  if (!found) return kExitRefused;
  Json drained = Json::array();
  std::vector<std::int64_t> told;
  bool untold = false;
  for (const Json& worker : *found) {
    const std::string name = text_at(worker, "worker", "?");
    const Result<Json> answer = link.ask("worker.drain", {{"session", int_at(worker, "session")}});
    if (!answer.ok()) return link.fail({answer.code(), fmt::format("{}: {}", name, answer.status().text())});
    drained.push_back(*answer);
    const auto busy = int_at(*answer, "busy");
    if (bool_at(*answer, "told")) {
      told.push_back(int_at(worker, "session"));
      if (!globals.json) {
        fmt::print("{} takes no more jobs; it leaves when {}\n", name,
                   busy == 0 ? "it has heard so" : "it has finished " + count_of(busy, "job", "jobs"));
      }
    } else {
      untold = true;
      if (!globals.json) {
        fmt::print("{} gets no more jobs and has {} left to finish\n", name, count_of(busy, "job", "jobs"));
      }
      complain(fmt::format(
          "{} is of a library that cannot be asked to leave: it stays, with empty hands, until it is "
          "sent SIGTERM",
          name));
    }
  }
  int code = kExitOk;
  if (options.wait) {
    std::fflush(stdout);
    code = wait_until_gone(&link, told);
  }
  if (globals.json) print_json({{"drained", drained}});
  if (code != kExitOk) return code;
  return untold && options.wait ? kExitRefused : kExitOk;
}

}  // namespace

void add_worker(CLI::App* app, Context* context) {
  auto options = std::make_shared<WorkerOptions>();
  CLI::App* worker = app->add_subcommand("worker", "The workers that are connected: list, look, drain");
  worker->require_subcommand(1);
  set_examples(worker,
               "  jobq worker ls\n"
               "  jobq worker show mailer@web-1:4711\n"
               "  jobq worker drain mailer --all --wait");
  CLI::App* ls =
      worker->add_subcommand("ls", "Every worker: where it runs, how busy it is, which queues it serves");
  set_examples(ls,
               "  jobq worker ls\n"
               "  jobq worker ls --json");
  ls->callback([context] { context->run = [context] { return list(context->globals); }; });

  CLI::App* show_app = worker->add_subcommand("show", "One worker, and what it is running");
  show_app->add_option("WORKER", options->worker, "Its session's number, NAME@HOST:PID, NAME@HOST or NAME")
      ->required();
  set_examples(show_app,
               "  jobq worker show mailer\n"
               "  jobq worker show 17");
  show_app->callback(
      [options, context] { context->run = [options, context] { return show(context->globals, *options); }; });

  CLI::App* drain_app =
      worker->add_subcommand("drain", "Ask workers to finish what they have, take nothing more, and leave");
  drain_app->add_option("WORKER", options->workers, "Session numbers, NAME@HOST:PID, NAME@HOST or NAME")
      ->required();
  drain_app->add_flag("--all", options->all,
                      "All that a name fits, instead of refusing when there are several");
  drain_app->add_flag("--wait", options->wait, "Return when they have left");
  set_examples(
      drain_app,
      "  jobq worker drain mailer@web-1:4711\n"
      "  jobq worker drain mailer@web-1 --all --wait     before web-1 is taken down\n"
      "A process manager that restarts what ends well would bring it back: `Restart=on-failure` does not.");
  drain_app->callback([options, context] {
    context->run = [options, context] { return drain(context->globals, *options); };
  });
}

}  // namespace jobq::cli
