// jobq task TASK, jobq task ls|cancel
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "cli/broker_link.hpp"
#include "cli/command.hpp"
#include "cli/duration.hpp"
#include "cli/exit_codes.hpp"
#include "cli/instant.hpp"
#include "cli/interrupt.hpp"
#include "cli/table.hpp"
#include "cli/task_watch.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {
namespace {

std::optional<std::int64_t> parse_task(const std::string& text) {
  std::int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec == std::errc{} && parsed.ptr == text.data() + text.size() && number > 0) return number;
  complain(text.empty()
               ? "which task? give TASK, the number that redrive or purge printed; `jobq task ls` lists them"
               : fmt::format("TASK: '{}' is not the number of a task; `jobq task ls` lists them",
                             printable(text)));
  return std::nullopt;
}

// The broker says only that there is none.
int fail_task(BrokerLink* link, const Status& status, std::int64_t number) {
  if (status.code() != Code::bad_argument) return link->fail(status);
  return link->fail({status.code(), fmt::format("task {}: {}", number, status.text())});
}

int watch(const Globals& globals, const std::string& text) {
  const auto number = parse_task(text);
  if (!number) return kExitUsage;
  catch_interrupts();
  BrokerLink link(globals);
  const Result<Json> first = link.ask("task", {{"task", *number}});
  if (!first.ok()) return fail_task(&link, first.status(), *number);
  const Result<Json> end = watch_task(&link, *first);
  return end.ok() ? print_task(globals, *end) : link.fail(end.status());
}

int cancel(const Globals& globals, const std::string& text) {
  const auto number = parse_task(text);
  if (!number) return kExitUsage;
  BrokerLink link(globals);
  const Result<Json> answer = link.ask("task.cancel", {{"task", *number}});
  if (!answer.ok()) return fail_task(&link, answer.status(), *number);
  if (raw_text_at(object_at(*answer, "task"), "state") == "done" && !globals.json) {
    complain(fmt::format("task {} had ended already", *number));
  }
  return print_task(globals, *answer);
}

int list(const Globals& globals) {
  BrokerLink link(globals);
  const Result<Json> answer = link.ask("task.ls");
  if (!answer.ok()) return link.fail(answer.status());
  if (globals.json) {
    print_json(*answer);
    return kExitOk;
  }
  const Json& tasks = array_at(*answer, "tasks");
  if (tasks.empty()) {
    std::fputs("no tasks: redrives and purges are listed here while they run and until the broker restarts\n",
               stdout);
    return kExitOk;
  }
  const TimeMs now = wall_now();
  Table table({{"TASK", Align::right},
               {"KIND", Align::left},
               {"QUEUE", Align::left},
               {"STATE", Align::left},
               {"DONE", Align::right},
               {"BEGAN", Align::right},
               {"RESULT", Align::left}});
  for (const Json& task : tasks) {
    const bool over = raw_text_at(task, "state") != "running";
    table.add({group_digits(int_at(task, "task")), text_at(task, "kind"), text_at(task, "queue", "-"),
               text_at(task, "state"),
               over ? "-" : format_percent(number_at(task, "scanned"), number_at(task, "to_scan")),
               format_duration(std::max<std::int64_t>(0, now.ms - int_at(task, "started_at"))) + " ago",
               task_text(task)});
  }
  std::fputs(table.render(stdout_width(), bold_on()).c_str(), stdout);
  return kExitOk;
}

}  // namespace

void add_task(CLI::App* app, Context* context) {
  auto number = std::make_shared<std::string>();
  CLI::App* task =
      app->add_subcommand("task", "Redrives and purges that run in the broker: watch, list, cancel");
  task->require_subcommand(0, 1);
  task->add_option("TASK", *number, "Watch this one: its number, as redrive or purge printed it");
  set_examples(task,
               "  jobq task 7             watches it to its end\n"
               "  jobq task ls\n"
               "  jobq task cancel 7      what it did stays done");
  task->callback([number, context] {
    if (!context->run) context->run = [number, context] { return watch(context->globals, *number); };
  });
  CLI::App* ls = task->add_subcommand("ls", "Those that run, and those that ended since the broker's start");
  set_examples(ls, "  jobq task ls");
  ls->callback([context] { context->run = [context] { return list(context->globals); }; });
  CLI::App* cancel_app = task->add_subcommand("cancel", "Stop one; what it did stays done");
  auto which = std::make_shared<std::string>();
  cancel_app->add_option("TASK", *which, "Its number")->required();
  set_examples(cancel_app, "  jobq task cancel 7");
  cancel_app->callback(
      [which, context] { context->run = [which, context] { return cancel(context->globals, *which); }; });
}

}  // namespace jobq::cli
