// jobq job show|why|retry|snooze|cancel ID
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/broker_link.hpp"
#include "cli/command.hpp"
#include "cli/duration.hpp"
#include "cli/exit_codes.hpp"
#include "cli/instant.hpp"
#include "cli/job_view.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"
#include "libjobq/base/id.hpp"

namespace jobq::cli {
namespace {

struct JobOptions {
  std::string id;
  bool body = false;
  std::string span, until;  // snooze
};

bool check_id(const std::string& id) {
  if (parse_job_id(id)) return true;
  complain(
      fmt::format("'{}' is not a job id; they look like j1a7 (`jobq enqueue` prints them)", printable(id)));
  return false;
}

// The body alone, byte for byte, for a pipe.
int write_body(const Json& job) {
  const auto body = job.find("body");
  if (body == job.end() || body->is_null()) {
    complain(fmt::format(
        "the body of {} ({} bytes) is not in the broker's answer: it is over 64 KiB, or the job has left",
        text_at(job, "id"), int_at(job, "body_bytes")));
    return kExitRefused;
  }
  const std::string content = raw_text_at(job, "body");
  std::fwrite(content.data(), 1, content.size(), stdout);
  return kExitOk;
}

int show(const Globals& globals, const JobOptions& options) {
  if (!check_id(options.id)) return kExitUsage;
  BrokerLink link(globals);
  const Result<Json> answer = link.ask("job.show", {{"id", options.id}});
  if (!answer.ok()) return link.fail(answer.status());
  if (options.body) return write_body(object_at(*answer, "job"));
  if (globals.json) {
    print_json(*answer);
  } else {
    std::fputs(render_job(*answer, wall_now(), stdout_width()).c_str(), stdout);
  }
  return kExitOk;
}

int why(const Globals& globals, const JobOptions& options) {
  if (!check_id(options.id)) return kExitUsage;
  BrokerLink link(globals);
  const Result<Json> answer = link.ask("job.why", {{"id", options.id}});
  if (!answer.ok()) return link.fail(answer.status());
  if (globals.json) {
    print_json(*answer);
  } else {
    std::fputs(render_why(*answer, wall_now()).c_str(), stdout);
  }
  return kExitOk;
}

int retry(const Globals& globals, const JobOptions& options) {
  if (!check_id(options.id)) return kExitUsage;
  BrokerLink link(globals);
  const Result<Json> answer = link.ask("job.retry", {{"id", options.id}});
  if (!answer.ok()) return link.fail(answer.status());
  const std::string was = raw_text_at(object_at(*answer, "job"), "was");
  if (globals.json) {
    print_json(*answer);
  } else if (was == "ready") {
    fmt::print("{0} was ready already; `jobq job why {0}` says what it waits for\n", options.id);
  } else if (was == "dead") {
    fmt::print("{} was dead and is ready again, its attempts counted anew\n", options.id);
  } else {
    fmt::print("{} was scheduled and is ready now\n", options.id);
  }
  return kExitOk;
}

int snooze(const Globals& globals, const JobOptions& options) {
  if (!check_id(options.id)) return kExitUsage;
  if (options.span.empty() == options.until.empty()) {
    complain("give either --for SPAN, like 1h, or --until TIME, like 2026-11-23T14:30:00Z");
    return kExitUsage;
  }
  Params params{{"id", options.id}};
  if (!options.span.empty()) {
    const Result<DurationMs> span = parse_duration(options.span);
    if (!span.ok() || span->ms == 0) {
      complain(span.ok() ? "--for 0 is now: that is `jobq job retry`" : "--for: " + span.status().text());
      return kExitUsage;
    }
    params.emplace_back("delay_ms", span->ms);
  } else {
    const Result<Instant> instant = parse_instant(options.until);
    if (!instant.ok()) {
      complain("--until: " + instant.status().text());
      return kExitUsage;
    }
    params.emplace_back("run_at", instant->at.ms);
  }
  BrokerLink link(globals);
  const Result<Json> answer = link.ask("job.snooze", params);
  if (!answer.ok()) return link.fail(answer.status());
  if (globals.json) {
    print_json(*answer);
  } else {
    const TimeMs at{int_at(object_at(*answer, "job"), "run_at")};
    fmt::print("{} is put off until {} (in {})\n", options.id, format_instant(at),
               format_duration(std::max<std::int64_t>(0, at.ms - wall_now().ms)));
  }
  return kExitOk;
}

int cancel(const Globals& globals, const JobOptions& options) {
  if (!check_id(options.id)) return kExitUsage;
  BrokerLink link(globals);
  const Result<Json> answer = link.ask("job.cancel", {{"id", options.id}});
  if (!answer.ok()) return link.fail(answer.status());
  if (globals.json) {
    print_json(*answer);
  } else if (raw_text_at(object_at(*answer, "job"), "state") == "leased") {
    fmt::print("{} is running: its worker is asked to stop; `jobq job show {}` says how it ended\n",
               options.id, options.id);
  } else {
    fmt::print("{} is cancelled\n", options.id);
  }
  return kExitOk;
}

}  // namespace

void add_job(CLI::App* app, Context* context) {
  auto options = std::make_shared<JobOptions>();
  CLI::App* job = app->add_subcommand(
      "job", "One job: its story, why it is not running; run it now, put it off, cancel it");
  job->require_subcommand(1);
  set_examples(job,
               "  jobq job show j1a7                  what happened to it\n"
               "  jobq job why j1a7                   why is it not running?\n"
               "  jobq job retry j1a7                 now, please");

  const auto add = [&](const char* name, const char* what, const char* example,
                       int (*work)(const Globals&, const JobOptions&)) {
    CLI::App* sub = job->add_subcommand(name, what);
    sub->add_option("ID", options->id, "The job's id, as `jobq enqueue` printed it")->required();
    set_examples(sub, example);
    sub->callback([options, context, work] {
      context->run = [options, context, work] { return work(context->globals, *options); };
    });
    return sub;
  };
  CLI::App* show_app = add("show", "Its fields, its state, its timeline with every failed attempt, its body",
                           "  jobq job show j1a7\n"
                           "  jobq job show j1a7 --body > body.bin",
                           show);
  show_app->add_flag("--body", options->body, "Write the body alone, byte for byte");
  add("why", "Why it is not running: the reason, what else stands in its way, and what to do",
      "  jobq job why j1a7", why);
  add("retry",
      "Run it now: ends a delay or a backoff, and brings a dead job back with its attempts counted anew",
      "  jobq job retry j1a7", retry);
  CLI::App* snooze_app = add("snooze", "Put a waiting job off: ready again at the time that is given",
                             "  jobq job snooze j1a7 --for 2h\n"
                             "  jobq job snooze j1a7 --until '2026-11-23 06:00'",
                             snooze);
  snooze_app->add_option("--for", options->span, "This long from now, like 5m or 1h30m");
  snooze_app->add_option("--until", options->until,
                         "This time: 2026-11-23T14:30:00Z, or '2026-11-23 14:30' local time");
  add("cancel", "Take a waiting or dead job out; ask the worker of a running one to stop",
      "  jobq job cancel j1a7", cancel);
}

}  // namespace jobq::cli
