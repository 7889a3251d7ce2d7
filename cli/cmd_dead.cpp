// jobq dead ls|summary|show QUEUE: looking at dead jobs. What is done with them: cmd_dead_tasks.cpp, cmd_dead_export.cpp
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cli/broker_link.hpp"
#include "cli/command.hpp"
#include "cli/dead_groups.hpp"
#include "cli/dead_options.hpp"
#include "cli/duration.hpp"
#include "cli/exit_codes.hpp"
#include "cli/instant.hpp"
#include "cli/job_view.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"
#include "libjobq/base/id.hpp"

namespace jobq::cli {
namespace {

constexpr std::int64_t kPage = 500;

std::string ago(const Json& dead, TimeMs now) {
  const auto died = maybe_int_at(dead, "died_at");
  return died ? format_duration(std::max<std::int64_t>(0, now.ms - *died)) : "-";
}

int list(const Globals& globals, const DeadOptions& options) {
  Params filters{{"queue", options.queue}};
  if (!add_filters(options, &filters)) return kExitUsage;
  BrokerLink link(globals);
  const std::int64_t wanted = options.limit > 0 ? options.limit : 50;
  Json jobs = Json::array();
  std::string after = options.after;
  while (static_cast<std::int64_t>(jobs.size()) < wanted) {
    Params params = filters;
    params.emplace_back("limit", std::min(kPage, wanted - static_cast<std::int64_t>(jobs.size())));
    if (!after.empty()) params.emplace_back("after", after);
    const Result<Json> page = link.ask("dead.ls", params);
    if (!page.ok()) return link.fail(page.status(), options.queue);
    for (const Json& job : array_at(*page, "jobs")) jobs.push_back(job);
    after = raw_text_at(*page, "next");
    if (after.empty()) break;
  }
  if (globals.json) {
    print_json({{"jobs", jobs}, {"next", after.empty() ? Json() : Json(after)}});
    return kExitOk;
  }
  if (jobs.empty()) {
    fmt::print("no dead jobs{} in '{}'\n", filters.size() > 1 ? " that match" : "", options.queue);
    return kExitOk;
  }
  Table table({{"ID", Align::left},
               {"TYPE", Align::left},
               {"DIED AGO", Align::right},
               {"REASON", Align::left},
               {"FAILURES", Align::right},
               {"SIZE", Align::right},
               {"LAST ERROR", Align::left}});
  const TimeMs now = wall_now();
  for (const Json& job : jobs) {
    table.add({text_at(job, "id"), text_at(job, "type", "-"), ago(job, now), text_at(job, "reason"),
               group_digits(int_at(job, "failures")), format_bytes(int_at(job, "body_bytes")),
               text_at(job, "error")});
  }
  std::fputs(table.render(stdout_width(), bold_on()).c_str(), stdout);
  if (!after.empty()) {
    fmt::print(
        "there are more: `jobq dead ls {} --after {}`, or `jobq dead summary {}` for all, grouped by error\n",
        options.queue, after, options.queue);
  }
  return kExitOk;
}

Json group_json(const DeadGroup& group) {
  return {{"type", group.type},
          {"reason", group.reason},
          {"error", group.error},
          {"count", group.count},
          {"first_died_at", group.first_died.ms},
          {"last_died_at", group.last_died.ms},
          {"example", group.example}};
}

// Reads every dead job's row (not its body): a page at a time, with progress.
Status read_groups(BrokerLink* link, const std::string& queue, const Params& filters, DeadGroups* groups) {
  Progress progress;
  for (std::string after;;) {
    Params params{{"queue", queue}};
    params.insert(params.end(), filters.begin(), filters.end());
    params.emplace_back("limit", kPage);
    if (!after.empty()) params.emplace_back("after", after);
    const Result<Json> page = link->ask("dead.ls", params);
    if (!page.ok()) return page.status();
    for (const Json& job : array_at(*page, "jobs")) groups->add(job);
    after = raw_text_at(*page, "next");
    if (after.empty()) return {};
    progress.show(fmt::format("{} dead jobs of '{}' read",
                              group_digits(static_cast<std::int64_t>(groups->jobs())), queue));
  }
}

void print_groups(const std::string& queue, const DeadGroups& groups) {
  Table table({{"JOBS", Align::right},
               {"TYPE", Align::left},
               {"REASON", Align::left},
               {"FIRST DIED", Align::right},
               {"LAST", Align::right},
               {"EXAMPLE", Align::left},
               {"LAST ERROR", Align::left}});
  const TimeMs now = wall_now();
  const auto since = [now](TimeMs at) {
    return format_duration(std::max<std::int64_t>(0, now.ms - at.ms)) + " ago";
  };
  for (const DeadGroup& group : groups.sorted()) {
    table.add({group_digits(static_cast<std::int64_t>(group.count)), group.type.empty() ? "-" : group.type,
               group.reason, since(group.first_died), since(group.last_died), group.example, group.error});
  }
  fmt::print("{} in '{}', by type and error\n\n{}\n",
             count_of(static_cast<std::int64_t>(groups.jobs()), "dead job", "dead jobs"), queue,
             table.render(stdout_width(), bold_on()));
}

// The queues that have dead jobs, unless one was named.
Result<std::vector<std::string>> queues_to_look_at(BrokerLink* link, const std::string& named) {
  if (!named.empty()) return std::vector<std::string>{named};
  const Result<Json> all = link->ask("queue.ls");
  if (!all.ok()) return all.status();
  std::vector<std::string> names;
  for (const Json& queue : array_at(*all, "queues")) {
    if (int_at(queue, "dead") > 0) names.push_back(raw_text_at(queue, "name"));
  }
  return names;
}

int summarise(const Globals& globals, const DeadOptions& options) {
  Params filters;
  if (!add_filters(options, &filters)) return kExitUsage;
  BrokerLink link(globals);
  const Result<std::vector<std::string>> queues = queues_to_look_at(&link, options.queue);
  if (!queues.ok()) return link.fail(queues.status());
  Json documents = Json::array();
  std::string shown;
  for (const std::string& queue : *queues) {
    DeadGroups groups;
    if (const Status read = read_groups(&link, queue, filters, &groups); !read.ok())
      return link.fail(read, queue);
    Json rows = Json::array();
    for (const DeadGroup& group : groups.sorted()) rows.push_back(group_json(group));
    documents.push_back({{"queue", queue}, {"dead", groups.jobs()}, {"groups", rows}});
    if (globals.json || groups.jobs() == 0) continue;
    print_groups(queue, groups);
    shown = queue;
  }
  if (globals.json) {
    print_json(options.queue.empty() ? Json{{"queues", documents}} : documents.front());
  } else if (shown.empty()) {
    fmt::print("no dead jobs{}{}\n", filters.empty() ? "" : " that match",
               options.queue.empty() ? "" : fmt::format(" in '{}'", options.queue));
  } else {
    fmt::print(
        "`jobq job show ID` tells one job's story;\n"
        "`jobq dead redrive {} --error TEXT --dry-run` counts what a redrive would take\n",
        options.queue.empty() ? "QUEUE" : options.queue);
  }
  return kExitOk;
}

int show(const Globals& globals, const DeadOptions& options) {
  if (options.id.empty()) return summarise(globals, options);
  if (!parse_job_id(options.id)) {
    complain(fmt::format("ID: '{}' is not a job id; they look like j1a7", printable(options.id)));
    return kExitUsage;
  }
  BrokerLink link(globals);
  const Result<Json> answer = link.ask("job.show", {{"id", options.id}});
  if (!answer.ok()) return link.fail(answer.status(), options.queue);
  const Json& job = object_at(*answer, "job");
  if (raw_text_at(job, "state") != "dead" || raw_text_at(job, "queue") != options.queue) {
    complain(fmt::format("{} is not among the dead of '{}': it is {} in '{}'; `jobq job show {}` shows it",
                         options.id, options.queue, text_at(job, "state"), text_at(job, "queue"),
                         options.id));
    return kExitRefused;
  }
  if (globals.json) {
    print_json(*answer);
  } else {
    std::fputs(render_job(*answer, wall_now(), stdout_width()).c_str(), stdout);
  }
  return kExitOk;
}

void add_ls(CLI::App* dead, Context* context, const std::shared_ptr<DeadOptions>& options) {
  CLI::App* sub = dead->add_subcommand("ls", "A row per dead job, in the order of arrival");
  sub->add_option("QUEUE", options->queue, "The queue's name")->required();
  add_filter_options(sub, options, Filters::no_id);
  sub->add_option("--limit", options->limit, "At most this many (default 50)")->check(check_count, "");
  sub->add_option("--after", options->after, "Go on after this job id");
  set_examples(sub,
               "  jobq dead ls receipts\n"
               "  jobq dead ls receipts --error 'mailbox' --limit 10");
  sub->callback(
      [options, context] { context->run = [options, context] { return list(context->globals, *options); }; });
}

void add_summary(CLI::App* dead, Context* context, const std::shared_ptr<DeadOptions>& options) {
  CLI::App* sub =
      dead->add_subcommand("summary", "Dead jobs grouped by type and error: how many different problems?");
  sub->add_option("QUEUE", options->queue, "Only this queue; without it all that have dead jobs");
  add_filter_options(sub, options, Filters::no_id);
  set_examples(sub,
               "  jobq dead summary\n"
               "  jobq dead summary receipts --type mail");
  sub->callback([options, context] {
    context->run = [options, context] { return summarise(context->globals, *options); };
  });
}

void add_show(CLI::App* dead, Context* context, const std::shared_ptr<DeadOptions>& options) {
  CLI::App* sub = dead->add_subcommand("show", "The story of one dead job; without an ID, the summary");
  sub->add_option("QUEUE", options->queue, "The queue's name")->required();
  sub->add_option("ID", options->id, "One dead job");
  sub->add_option("--error", options->error, "Only jobs whose last error contains this text");
  set_examples(sub,
               "  jobq dead show receipts j1a7\n"
               "  jobq dead show receipts");
  sub->callback(
      [options, context] { context->run = [options, context] { return show(context->globals, *options); }; });
}

}  // namespace

void add_dead(CLI::App* app, Context* context) {
  auto options = std::make_shared<DeadOptions>();
  CLI::App* dead = app->add_subcommand("dead", "Dead jobs of a queue: look, export, redrive, purge");
  dead->require_subcommand(1);
  set_examples(dead,
               "  jobq dead summary                            how many different problems is this?\n"
               "  jobq dead redrive receipts --error timeout   once it is fixed");
  add_ls(dead, context, options);
  add_summary(dead, context, options);
  add_show(dead, context, options);
  add_dead_export(dead, context, options);
  add_redrive(dead, context, options);
  add_purge(dead, context, options);
}

}  // namespace jobq::cli
