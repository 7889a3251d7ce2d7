// jobq task ID
#include <fmt/format.h>

#include <memory>
#include <string>

#include "cli/broker_link.hpp"
#include "cli/command.hpp"
#include "cli/interrupt.hpp"
#include "cli/task_watch.hpp"

namespace jobq::cli {

void add_task(CLI::App* app, Context* context) {
  auto number = std::make_shared<std::int64_t>(0);
  CLI::App* task = app->add_subcommand("task", "Watch a redrive or purge that is running in the broker");
  task->add_option("TASK", *number, "The task's number, as redrive or purge printed it")
      ->required()
      ->check(CLI::PositiveNumber);
  set_examples(task, "  jobq task 7");
  task->callback([number, context] {
    context->run = [number, context] {
      catch_interrupts();
      BrokerLink link(context->globals);
      const Result<Json> first = link.ask("task", {{"task", *number}});
      if (first.code() == Code::bad_argument) {
        return link.fail({first.code(), fmt::format("task {}: {}", *number, first.status().text())});
      }
      if (!first.ok()) return link.fail(first.status());
      const Result<Json> end = watch_task(&link, *first);
      return end.ok() ? print_task(context->globals, *end) : link.fail(end.status());
    };
  });
}

}  // namespace jobq::cli
