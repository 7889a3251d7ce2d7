#include "cli/task_watch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "cli/exit_codes.hpp"
#include "cli/globals.hpp"
#include "cli/interrupt.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {
namespace {

bool running(const Json& answer) { return raw_text_at(object_at(answer, "task"), "state") == "running"; }

}  // namespace

std::string task_text(const Json& task) {
  const std::string kind = raw_text_at(task, "kind");
  const bool dry = bool_at(task, "dry_run");
  const std::string moved = group_digits(int_at(task, "moved"));
  const std::string scanned = group_digits(int_at(task, "scanned"));
  std::string text;
  if (kind == "redrive") {
    text = fmt::format("{} of {} dead jobs looked at {} ready again", moved, scanned,
                       dry ? "would be made" : "are");
  } else if (kind == "dead.purge") {
    text = fmt::format("{} of {} dead jobs looked at {} removed", moved, scanned, dry ? "would be" : "are");
  } else {
    text = fmt::format("{} waiting jobs {} removed", moved, dry ? "would be" : "are");
  }
  if (const auto skipped = int_at(task, "skipped_expired"); skipped > 0) {
    text += fmt::format("; {} had expired and stay dead", group_digits(skipped));
  }
  return text;
}

Result<Json> watch_task(BrokerLink* link, Json answer) {
  Progress progress;
  std::int64_t wait_ms = 20;
  while (running(answer) && !interrupted()) {
    const Json& task = object_at(answer, "task");
    const std::string id = raw_text_at(task, "task");
    progress.show(fmt::format("task {} runs: {} (Ctrl-C stops watching, not the task)", id, task_text(task)));
    wait_interruptible(DurationMs{wait_ms});
    wait_ms = std::min<std::int64_t>(wait_ms * 2, 500);
    if (interrupted()) break;
    const Json& number = task.contains("task") ? task.at("task") : Json();
    const ParamValue param =
        number.is_string() ? ParamValue{number.get<std::string>()} : ParamValue{int_at(task, "task")};
    Result<Json> next = link->ask("task", {{"task", param}});
    if (next.code() == Code::bad_argument) {  // Begun, and not known any more: the broker has restarted.
      return Status{next.code(),
                    fmt::format("task {} ended with a restart of the broker ({}); what it did is done, begin "
                                "it again for the rest",
                                id, task_text(task))};
    }
    if (!next.ok()) return next.status();
    answer = *std::move(next);
  }
  return answer;
}

int print_task(const Globals& globals, const Json& answer) {
  const Json& task = object_at(answer, "task");
  const bool still = running(answer);
  if (globals.json) {
    print_json(answer);
  } else if (still) {
    fmt::print("task {} goes on in the broker: {}\n`jobq task {}` watches it\n", raw_text_at(task, "task"),
               task_text(task), raw_text_at(task, "task"));
  } else {
    fmt::print("{}\n", task_text(task));
  }
  return still ? kExitInterrupted : kExitOk;
}

}  // namespace jobq::cli
