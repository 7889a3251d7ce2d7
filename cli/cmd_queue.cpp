// jobq queue ls|show|set|pause|resume|purge|rm
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/broker_link.hpp"
#include "cli/command.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupt.hpp"
#include "cli/queue_params.hpp"
#include "cli/stats_view.hpp"
#include "cli/table.hpp"
#include "cli/task_watch.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {
namespace {

struct QueueOptions {
  std::string queue;
  std::vector<std::string> settings;
  bool yes = false;
  bool with_jobs = false;
};

std::string render_settings(const Json& settings) {
  Table table({{"SETTING", Align::left}, {"VALUE", Align::left}});
  for (const auto& [name, value] : settings.items()) table.add({printable(name), setting_text(name, value)});
  return table.render(stdout_width(), bold_on());
}

int list(const Globals& globals) {
  BrokerLink link(globals);
  const Result<Json> answer = link.ask("queue.ls");
  if (!answer.ok()) return link.fail(answer.status());
  if (globals.json) {
    print_json(*answer);
  } else {
    std::fputs(render_queues(array_at(*answer, "queues"), stdout_width()).c_str(), stdout);
  }
  return kExitOk;
}

int show(const Globals& globals, const QueueOptions& options) {
  BrokerLink link(globals);
  const Result<Json> answer = link.ask("queue.show", {{"queue", options.queue}});
  if (!answer.ok()) return link.fail(answer.status(), options.queue);
  if (globals.json) {
    print_json(*answer);
    return kExitOk;
  }
  Table counters({{"COUNTED SINCE THE QUEUE EXISTS", Align::left}, {"", Align::right}});
  for (const auto& [name, value] : object_at(*answer, "counters").items()) {
    if (value.is_number()) counters.add({printable(name), group_digits(value.get<std::int64_t>())});
  }
  fmt::print("{}\n{}\n{}", render_queues(Json::array({object_at(*answer, "queue")}), stdout_width()),
             render_settings(object_at(*answer, "settings")), counters.render(stdout_width(), bold_on()));
  return kExitOk;
}

int set(const Globals& globals, const QueueOptions& options) {
  Params params{{"queue", options.queue}};
  for (const std::string& text : options.settings) {
    const auto setting = parse_setting(text);
    if (!setting.ok()) {
      complain(setting.status().text());
      return kExitUsage;
    }
    params.emplace_back(setting->first, setting->second);
  }
  BrokerLink link(globals);
  const Result<Json> answer = link.ask("queue.set", params);
  if (!answer.ok()) return link.fail(answer.status(), options.queue);
  if (globals.json) {
    print_json(*answer);
    return kExitOk;
  }
  fmt::print("{} '{}':\n", bool_at(*answer, "created") ? "made the queue" : "changed the queue",
             options.queue);
  const Json& settings = object_at(*answer, "settings");
  for (std::size_t i = 1; i < params.size(); ++i) {
    const std::string& name = params[i].first;
    if (settings.contains(name)) fmt::print("  {} = {}\n", name, setting_text(name, settings.at(name)));
  }
  return kExitOk;
}

int pause(const Globals& globals, const QueueOptions& options, const char* verb) {
  BrokerLink link(globals);
  const Result<Json> answer = link.ask(verb, {{"queue", options.queue}});
  if (!answer.ok()) return link.fail(answer.status(), options.queue);
  if (globals.json) {
    print_json(*answer);
  } else if (std::string_view{verb} == "queue.pause") {
    fmt::print(
        "'{}' is paused: nothing more is handed out, jobs are still accepted, running ones finish; "
        "`jobq queue resume {}` goes on\n",
        options.queue, options.queue);
  } else {
    fmt::print("'{}' hands out jobs again\n", options.queue);
  }
  return kExitOk;
}

int purge(const Globals& globals, const QueueOptions& options) {
  catch_interrupts();
  BrokerLink link(globals);
  const Result<Json> before = link.ask("queue.show", {{"queue", options.queue}});
  if (!before.ok()) return link.fail(before.status(), options.queue);
  const Json& queue = object_at(*before, "queue");
  const auto ready = int_at(queue, "ready"), scheduled = int_at(queue, "scheduled");
  if (!options.yes) {
    const std::string what = fmt::format(
        "this would remove {} ready and {} of '{}' for good (leased and dead ones stay)", group_digits(ready),
        count_of(scheduled, "scheduled job", "scheduled jobs"), options.queue);
    complain(what + "; add --yes to do it");
    return kExitRefused;
  }
  const Result<Json> begun = link.ask("queue.purge", {{"queue", options.queue}});
  if (!begun.ok()) return link.fail(begun.status(), options.queue);
  const Result<Json> end = watch_task(&link, *begun);
  return end.ok() ? print_task(globals, *end) : link.fail(end.status(), options.queue);
}

// Runs a purge to its end; the exit code when it did not get there.
std::optional<int> purge_all(BrokerLink* link, const Globals& globals, const char* verb,
                             const std::string& queue) {
  const Result<Json> begun = link->ask(verb, {{"queue", queue}});
  if (!begun.ok()) return link->fail(begun.status(), queue);
  const Result<Json> end = watch_task(link, *begun);
  if (!end.ok()) return link->fail(end.status(), queue);
  if (interrupted()) return print_task(globals, *end);
  return std::nullopt;
}

int remove(const Globals& globals, const QueueOptions& options) {
  catch_interrupts();
  BrokerLink link(globals);
  const Result<Json> before = link.ask("queue.show", {{"queue", options.queue}});
  if (!before.ok()) return link.fail(before.status(), options.queue);
  const Json& queue = object_at(*before, "queue");
  const auto waiting = int_at(queue, "ready") + int_at(queue, "scheduled"), dead = int_at(queue, "dead");
  if (!options.yes) {
    complain(fmt::format(
        "this would remove the queue '{}', its settings and its counters for good{}; add --yes to do it",
        options.queue,
        waiting + dead == 0 ? ""
        : options.with_jobs
            ? fmt::format(", with {} and {}", count_of(waiting, "waiting job", "waiting jobs"),
                          count_of(dead, "dead job", "dead jobs"))
            : fmt::format("; it has {} and {}, which have to go first (--with-jobs)",
                          count_of(waiting, "waiting job", "waiting jobs"),
                          count_of(dead, "dead job", "dead jobs"))));
    return kExitRefused;
  }
  if (options.with_jobs && waiting > 0) {
    if (const auto code = purge_all(&link, globals, "queue.purge", options.queue)) return *code;
  }
  if (options.with_jobs && dead > 0) {
    if (const auto code = purge_all(&link, globals, "dead.purge", options.queue)) return *code;
  }
  const Result<Json> removed = link.ask("queue.rm", {{"queue", options.queue}});
  if (!removed.ok()) return link.fail(removed.status(), options.queue);
  if (globals.json) {
    print_json(*removed);
  } else {
    fmt::print("the queue '{}' is removed\n", options.queue);
  }
  return kExitOk;
}

}  // namespace

void add_queue(CLI::App* app, Context* context) {
  auto options = std::make_shared<QueueOptions>();
  CLI::App* queue = app->add_subcommand("queue", "Queues: list, settings, pause, purge, remove");
  queue->require_subcommand(1);
  set_examples(queue,
               "  jobq queue ls\n"
               "  jobq queue set receipts lease=1m max_attempts=10\n"
               "  jobq queue pause receipts");

  const auto add = [&](const char* name, const char* what, const char* example, bool named,
                       std::function<int(const Globals&, const QueueOptions&)> work) {
    CLI::App* sub = queue->add_subcommand(name, what);
    if (named) sub->add_option("QUEUE", options->queue, "The queue's name")->required();
    set_examples(sub, example);
    sub->callback([options, context, work = std::move(work)] {
      context->run = [options, context, work] { return work(context->globals, *options); };
    });
    return sub;
  };
  add("ls", "A row per queue, as in `jobq stats`", "  jobq queue ls", false,
      [](const Globals& globals, const QueueOptions&) { return list(globals); });
  add("show", "One queue: its row, its settings, its counters", "  jobq queue show receipts", true, show);
  CLI::App* set_app =
      add("set", "Change settings; they hold at once and for good. Makes the queue when there is none",
          "  jobq queue set receipts lease=1m max_attempts=10 max_jobs=100k\n"
          "  jobq queue set receipts dead_retention=30d backoff_min=5s backoff_max=1h\n"
          "`jobq queue show QUEUE` lists the settings there are.",
          true, set);
  set_app
      ->add_option("NAME=VALUE", options->settings,
                   "Settings; times like 30s or 1h30m, sizes like 2GiB, off for 0")
      ->required();
  add("pause", "Hand out nothing more; jobs are still accepted, running ones finish",
      "  jobq queue pause receipts", true,
      [](const Globals& globals, const QueueOptions& given) { return pause(globals, given, "queue.pause"); });
  add("resume", "Hand out jobs again", "  jobq queue resume receipts", true,
      [](const Globals& globals, const QueueOptions& given) {
        return pause(globals, given, "queue.resume");
      });
  CLI::App* purge_app = add("purge", "Remove all ready and scheduled jobs (leased and dead ones stay)",
                            "  jobq queue purge receipts          says what it would remove\n"
                            "  jobq queue purge receipts --yes    removes it",
                            true, purge);
  purge_app->add_flag("--yes", options->yes, "Do it; without it only says what would be removed");
  CLI::App* rm_app =
      add("rm", "Remove a queue that is empty and that nobody serves, with its settings and counters",
          "  jobq queue rm old-receipts --yes\n"
          "  jobq queue rm old-receipts --with-jobs --yes    its waiting and dead jobs too\n"
          "A job or a worker for the same name makes a new queue, with default settings.",
          true, remove);
  rm_app->add_flag("--with-jobs", options->with_jobs, "Purge its waiting and dead jobs first");
  rm_app->add_flag("--yes", options->yes, "Do it; without it only says what would be removed");
}

}  // namespace jobq::cli
