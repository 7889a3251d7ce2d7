// jobq worker ls
#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "cli/broker_link.hpp"
#include "cli/command.hpp"
#include "cli/duration.hpp"
#include "cli/exit_codes.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {
namespace {

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
  Table table({{"WORKER", Align::left},
               {"STATE", Align::left},
               {"BUSY", Align::right},
               {"SLOTS", Align::right},
               {"HEARD", Align::right},
               {"BUILD", Align::left},
               {"QUEUES", Align::left}});
  for (const Json& worker : workers) {
    const auto busy = int_at(worker, "busy"), credit = int_at(worker, "credit");
    const char* state = !bool_at(worker, "connected") ? "lost"
                        : credit == 0                 ? "draining"
                        : busy > 0                    ? "working"
                                                      : "idle";
    table.add({text_at(worker, "worker", "?"), state, group_digits(busy), group_digits(credit),
               format_duration(int_at(worker, "silent_ms")) + " ago", text_at(worker, "build", "-"),
               queues_of(worker)});
  }
  std::fputs(table.render(stdout_width(), bold_on()).c_str(), stdout);
  return kExitOk;
}

}  // namespace

void add_worker(CLI::App* app, Context* context) {
  CLI::App* worker = app->add_subcommand("worker", "The workers that are connected");
  worker->require_subcommand(1);
  set_examples(worker, "  jobq worker ls");
  CLI::App* ls =
      worker->add_subcommand("ls", "Every worker: where it runs, how busy it is, which queues it serves");
  set_examples(ls,
               "  jobq worker ls\n"
               "  jobq worker ls --json");
  ls->callback([context] { context->run = [context] { return list(context->globals); }; });
}

}  // namespace jobq::cli
