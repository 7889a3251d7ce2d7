// jobq dead redrive|purge QUEUE: tasks of the broker, watched.
#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "cli/dead_options.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupt.hpp"
#include "cli/table.hpp"
#include "cli/task_watch.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {
namespace {

// A dry run of a redrive counts what a purge with the same filters would take.
Result<Json> count_matching(BrokerLink* link, Params params) {
  params.emplace_back("dry_run", true);
  const Result<Json> begun = link->ask("dead.redrive", params);
  return begun.ok() ? watch_task(link, *begun) : begun;
}

// Whoever names one job wants to hear that it was not there.
int found_job(const DeadOptions& options, const Json& answer) {
  const Json& task = object_at(answer, "task");
  const auto found = int_at(task, "moved") + int_at(task, "skipped_expired");
  if (options.id.empty() || found > 0 || raw_text_at(task, "state") == "running") return kExitOk;
  complain(fmt::format("{0} is not among the dead of '{1}'{2}; `jobq job show {0}` says where it is",
                       options.id, options.queue,
                       options.has_type || !options.error.empty() || !options.min_age.empty()
                           ? " that match the other filters"
                           : ""));
  return kExitRefused;
}

int print_end(const Globals& globals, const DeadOptions& options, const Json& answer) {
  if (const int code = found_job(options, answer); code != kExitOk) {
    if (globals.json) print_json(answer);
    return code;
  }
  return print_task(globals, answer);
}

// Nobody waits for it: where to look is the result.
int print_begun(const Globals& globals, const Json& answer) {
  if (globals.json) {
    print_json(answer);
  } else {
    fmt::print("task {0} runs in the broker; `jobq task {0}` watches it, `jobq task cancel {0}` stops it\n",
               raw_text_at(object_at(answer, "task"), "task"));
  }
  return kExitOk;
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
    return counted.ok() ? print_end(globals, options, *counted) : link.fail(counted.status(), options.queue);
  }
  const Result<Json> begun = link.ask("dead.redrive", params);
  if (!begun.ok()) return link.fail(begun.status(), options.queue);
  if (options.background) return print_begun(globals, *begun);
  const Result<Json> end = watch_task(&link, *begun);
  return end.ok() ? print_end(globals, options, *end) : link.fail(end.status(), options.queue);
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
    if (raw_text_at(task, "state") == "running") return print_task(globals, *counted);  // Ctrl-C
    if (const int code = found_job(options, *counted); code != kExitOk) return code;
    const auto count = int_at(task, "moved") + int_at(task, "skipped_expired");
    if (globals.json) {
      print_json({{"queue", options.queue}, {"would_remove", count}, {"scanned", int_at(task, "scanned")}});
    } else {
      fmt::print("{} of {} looked at would be removed for good\n", group_digits(count),
                 count_of(int_at(task, "scanned"), "dead job", "dead jobs"));
    }
    if (options.dry_run) return kExitOk;
    complain("nothing was removed; add --yes to do it");
    return kExitRefused;
  }
  const Result<Json> begun = link.ask("dead.purge", params);
  if (!begun.ok()) return link.fail(begun.status(), options.queue);
  const Result<Json> end = watch_task(&link, *begun);
  return end.ok() ? print_end(globals, options, *end) : link.fail(end.status(), options.queue);
}

}  // namespace

void add_redrive(CLI::App* dead, Context* context, const std::shared_ptr<DeadOptions>& options) {
  CLI::App* sub =
      dead->add_subcommand("redrive", "Make dead jobs ready again, with their attempts counted anew");
  sub->add_option("QUEUE", options->queue, "The queue's name")->required();
  add_filter_options(sub, options, Filters::all);
  sub->add_option("--limit", options->limit, "At most this many")->check(check_count, "");
  sub->add_option("--rate", options->rate, "At most this many a second (spares what just came back to life)")
      ->check(check_count, "");
  sub->add_flag("--dry-run", options->dry_run, "Only count");
  sub->add_flag("--background", options->background, "Begin it and return; `jobq task` watches it");
  set_examples(sub,
               "  jobq dead redrive receipts --error timeout --dry-run\n"
               "  jobq dead redrive receipts --error timeout --rate 50\n"
               "  jobq dead redrive receipts --id j1a7");
  sub->callback([options, context] {
    context->run = [options, context] { return redrive(context->globals, *options); };
  });
}

void add_purge(CLI::App* dead, Context* context, const std::shared_ptr<DeadOptions>& options) {
  CLI::App* sub = dead->add_subcommand("purge", "Remove dead jobs for good");
  sub->add_option("QUEUE", options->queue, "The queue's name")->required();
  add_filter_options(sub, options, Filters::all);
  sub->add_flag("--dry-run", options->dry_run, "Only count");
  sub->add_flag("--yes", options->yes, "Do it; without it only says what would be removed");
  set_examples(sub,
               "  jobq dead purge receipts --min-age 30d --dry-run\n"
               "  jobq dead purge receipts --type receipt --yes");
  sub->callback([options, context] {
    context->run = [options, context] { return purge(context->globals, *options); };
  });
}

}  // namespace jobq::cli
