// jobq dead ls|show|redrive|purge QUEUE
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/broker_link.hpp"
#include "cli/command.hpp"
#include "cli/dead_groups.hpp"
#include "cli/duration.hpp"
#include "cli/exit_codes.hpp"
#include "cli/instant.hpp"
#include "cli/interrupt.hpp"
#include "cli/job_view.hpp"
#include "cli/table.hpp"
#include "cli/task_watch.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {
namespace {

constexpr std::int64_t kPage = 500;

struct DeadOptions {
  std::string queue;
  std::string id, type, error, min_age, after;
  bool has_type = false;
  std::int64_t limit = 0;
  std::int64_t rate = 0;
  bool dry_run = false, yes = false;
};

// The filters, as the wire has them. Unusable ones are complained about.
bool add_filters(const DeadOptions& options, Params* params) {
  if (!options.id.empty()) params->emplace_back("id", options.id);
  if (options.has_type) params->emplace_back("type", options.type);
  if (!options.error.empty()) params->emplace_back("error", options.error);
  if (options.min_age.empty()) return true;
  const Result<DurationMs> age = parse_duration(options.min_age);
  if (!age.ok()) {
    complain("--min-age: " + age.status().text());
    return false;
  }
  params->emplace_back("min_age_ms", age->ms);
  return true;
}

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
        "there are more: `jobq dead ls {} --after {}`, or `jobq dead show {}` for all, grouped by error\n",
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
int summarise(const Globals& globals, const DeadOptions& options) {
  Params filters{{"queue", options.queue}};
  if (!add_filters(options, &filters)) return kExitUsage;
  BrokerLink link(globals);
  DeadGroups groups;
  Progress progress;
  for (std::string after;;) {
    Params params = filters;
    params.emplace_back("limit", kPage);
    if (!after.empty()) params.emplace_back("after", after);
    const Result<Json> page = link.ask("dead.ls", params);
    if (!page.ok()) return link.fail(page.status(), options.queue);
    for (const Json& job : array_at(*page, "jobs")) groups.add(job);
    after = raw_text_at(*page, "next");
    if (after.empty()) break;
    progress.show(fmt::format("{} dead jobs read", group_digits(static_cast<std::int64_t>(groups.jobs()))));
  }
  progress.clear();
  if (globals.json) {
    Json rows = Json::array();
    for (const DeadGroup& group : groups.sorted()) rows.push_back(group_json(group));
    print_json({{"queue", options.queue}, {"dead", groups.jobs()}, {"groups", rows}});
    return kExitOk;
  }
  if (groups.jobs() == 0) {
    fmt::print("no dead jobs{} in '{}'\n", filters.size() > 1 ? " that match" : "", options.queue);
    return kExitOk;
  }
  Table table({{"JOBS", Align::right},
               {"TYPE", Align::left},
               {"REASON", Align::left},
               {"FIRST DIED AGO", Align::right},
               {"LAST", Align::right},
               {"EXAMPLE", Align::left},
               {"LAST ERROR", Align::left}});
  const TimeMs now = wall_now();
  const auto since = [now](TimeMs at) { return format_duration(std::max<std::int64_t>(0, now.ms - at.ms)); };
  for (const DeadGroup& group : groups.sorted()) {
    table.add({group_digits(static_cast<std::int64_t>(group.count)), group.type.empty() ? "-" : group.type,
               group.reason, since(group.first_died), since(group.last_died), group.example, group.error});
  }
  fmt::print("{} dead {} in '{}', by type and error\n\n{}\n",
             group_digits(static_cast<std::int64_t>(groups.jobs())), groups.jobs() == 1 ? "job" : "jobs",
             options.queue, table.render(stdout_width(), bold_on()));
  fmt::print(
      "`jobq job show ID` tells one job's story; `jobq dead redrive {} --error TEXT --dry-run` counts what a "
      "redrive "
      "would take\n",
      options.queue);
  return kExitOk;
}

int show(const Globals& globals, const DeadOptions& options) {
  if (options.id.empty()) return summarise(globals, options);
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

// A dry run of a redrive counts what a purge with the same filters would take.
Result<Json> count_matching(BrokerLink* link, Params params) {
  params.emplace_back("dry_run", true);
  const Result<Json> begun = link->ask("dead.redrive", params);
  return begun.ok() ? watch_task(link, *begun) : begun;
}

int redrive(const Globals& globals, const DeadOptions& options) {
  Params params{{"queue", options.queue}};
  if (!add_filters(options, &params)) return kExitUsage;
  if (options.limit > 0) params.emplace_back("limit", options.limit);
  if (options.rate > 0) params.emplace_back("rate", options.rate);
  catch_interrupts();
  BrokerLink link(globals);
  if (options.dry_run) {
    const Result<Json> counted = count_matching(&link, params);
    return counted.ok() ? print_task(globals, *counted) : link.fail(counted.status(), options.queue);
  }
  const Result<Json> begun = link.ask("dead.redrive", params);
  if (!begun.ok()) return link.fail(begun.status(), options.queue);
  const Result<Json> end = watch_task(&link, *begun);
  return end.ok() ? print_task(globals, *end) : link.fail(end.status(), options.queue);
}

int purge(const Globals& globals, const DeadOptions& options) {
  Params params{{"queue", options.queue}};
  if (!add_filters(options, &params)) return kExitUsage;
  catch_interrupts();
  BrokerLink link(globals);
  if (options.dry_run || !options.yes) {
    const Result<Json> counted = count_matching(&link, params);
    if (!counted.ok()) return link.fail(counted.status(), options.queue);
    const Json& task = object_at(*counted, "task");
    const auto count = int_at(task, "moved") + int_at(task, "skipped_expired");
    if (globals.json) {
      print_json({{"queue", options.queue}, {"would_remove", count}, {"scanned", int_at(task, "scanned")}});
    } else {
      fmt::print("{} of {} dead jobs looked at would be removed for good\n", group_digits(count),
                 group_digits(int_at(task, "scanned")));
    }
    if (options.dry_run) return kExitOk;
    complain("nothing was removed; add --yes to do it");
    return kExitRefused;
  }
  const Result<Json> begun = link.ask("dead.purge", params);
  if (!begun.ok()) return link.fail(begun.status(), options.queue);
  const Result<Json> end = watch_task(&link, *begun);
  return end.ok() ? print_task(globals, *end) : link.fail(end.status(), options.queue);
}

using Options = std::shared_ptr<DeadOptions>;

void add_filter_options(CLI::App* sub, const Options& options) {
  sub->add_option_function<std::string>(
      "--type",
      [options](const std::string& type) {
        options->type = type;
        options->has_type = true;
      },
      "Only jobs of this type ('' for those without one)");
  sub->add_option("--error", options->error, "Only jobs whose last error contains this text");
  sub->add_option("--id", options->id, "Only this job");
  sub->add_option("--min-age", options->min_age, "Only jobs dead for at least this long, like 1h");
}

void add_ls(CLI::App* dead, Context* context, const Options& options) {
  CLI::App* sub = dead->add_subcommand("ls", "A row per dead job, in the order of arrival");
  sub->add_option("QUEUE", options->queue, "The queue's name")->required();
  sub->add_option_function<std::string>(
      "--type",
      [options](const std::string& type) {
        options->type = type;
        options->has_type = true;
      },
      "Only jobs of this type ('' for those without one)");
  sub->add_option("--error", options->error, "Only jobs whose last error contains this text");
  sub->add_option("--limit", options->limit, "At most this many (default 50)")->check(CLI::PositiveNumber);
  sub->add_option("--after", options->after, "Go on after this job id");
  set_examples(sub,
               "  jobq dead ls receipts\n"
               "  jobq dead ls receipts --error 'mailbox' --limit 10");
  sub->callback(
      [options, context] { context->run = [options, context] { return list(context->globals, *options); }; });
}

void add_show(CLI::App* dead, Context* context, const Options& options) {
  CLI::App* sub =
      dead->add_subcommand("show", "All dead jobs grouped by type and error; or the story of one");
  sub->add_option("QUEUE", options->queue, "The queue's name")->required();
  sub->add_option("ID", options->id, "One dead job");
  sub->add_option("--error", options->error, "Only jobs whose last error contains this text");
  set_examples(sub,
               "  jobq dead show receipts\n"
               "  jobq dead show receipts j1a7");
  sub->callback(
      [options, context] { context->run = [options, context] { return show(context->globals, *options); }; });
}

void add_redrive(CLI::App* dead, Context* context, const Options& options) {
  CLI::App* sub =
      dead->add_subcommand("redrive", "Make dead jobs ready again, with their attempts counted anew");
  sub->add_option("QUEUE", options->queue, "The queue's name")->required();
  add_filter_options(sub, options);
  sub->add_option("--limit", options->limit, "At most this many")->check(CLI::PositiveNumber);
  sub->add_option("--rate", options->rate, "At most this many a second (spares what just came back to life)")
      ->check(CLI::PositiveNumber);
  sub->add_flag("--dry-run", options->dry_run, "Only count");
  set_examples(sub,
               "  jobq dead redrive receipts --error timeout --dry-run\n"
               "  jobq dead redrive receipts --error timeout --rate 50\n"
               "  jobq dead redrive receipts --id j1a7");
  sub->callback([options, context] {
    context->run = [options, context] { return redrive(context->globals, *options); };
  });
}

void add_purge(CLI::App* dead, Context* context, const Options& options) {
  CLI::App* sub = dead->add_subcommand("purge", "Remove dead jobs for good");
  sub->add_option("QUEUE", options->queue, "The queue's name")->required();
  add_filter_options(sub, options);
  sub->add_flag("--dry-run", options->dry_run, "Only count");
  sub->add_flag("--yes", options->yes, "Do it; without it only says what would be removed");
  set_examples(sub,
               "  jobq dead purge receipts --min-age 30d --dry-run\n"
               "  jobq dead purge receipts --type receipt --yes");
  sub->callback([options, context] {
    context->run = [options, context] { return purge(context->globals, *options); };
  });
}

}  // namespace

void add_dead(CLI::App* app, Context* context) {
  auto options = std::make_shared<DeadOptions>();
  CLI::App* dead = app->add_subcommand("dead", "Dead jobs of a queue: look, redrive, purge");
  dead->require_subcommand(1);
  set_examples(dead,
               "  jobq dead show receipts                      how many different problems is this?\n"
               "  jobq dead redrive receipts --error timeout   once it is fixed");
  add_ls(dead, context, options);
  add_show(dead, context, options);
  add_redrive(dead, context, options);
  add_purge(dead, context, options);
}

}  // namespace jobq::cli
