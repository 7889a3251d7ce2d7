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

// ", 12 % done", with what it had to look at when it began; nothing when that is not known.
std::string progress_text(const Json& task) {
  const double all = number_at(task, "to_scan");
  if (all <= 0) return "";
  return fmt::format(", {} done", format_percent(number_at(task, "scanned"), all));
}

}  // namespace

std::string task_text(const Json& task) {
  const std::string kind = raw_text_at(task, "kind");
  const bool dry = bool_at(task, "dry_run");
  const std::string moved = group_digits(int_at(task, "moved"));
  const std::string scanned = group_digits(int_at(task, "scanned"));
  const auto count = int_at(task, "moved");
  const char* looked = int_at(task, "scanned") == 1 ? "dead job" : "dead jobs";
  const char* are = count == 1 ? "is" : "are";
  std::string text;
  if (kind == "redrive") {
    text = fmt::format("{} of {} {} looked at {} ready again", moved, scanned, looked,
                       dry ? "would be made" : are);
  } else if (kind == "queue.purge") {
    text =
        fmt::format("{} {} removed", count_of(count, "waiting job", "waiting jobs"), dry ? "would be" : are);
  } else {
    text = fmt::format("{} of {} {} looked at {} removed", moved, scanned, looked, dry ? "would be" : are);
  }
  if (const auto skipped = int_at(task, "skipped_expired"); skipped > 0) {
    text +=
        fmt::format("; {} had expired and {} dead", group_digits(skipped), skipped == 1 ? "stays" : "stay");
  }
  return text;
}

Result<Json> watch_task(BrokerLink* link, Json answer) {
  Progress progress;
  std::int64_t wait_ms = 20;
  while (running(answer) && !interrupted()) {
    const Json& task = object_at(answer, "task");
    const std::string id = raw_text_at(task, "task");
    progress.show(fmt::format("task {} runs{}: {} (Ctrl-C stops watching; `jobq task cancel {}` stops it)",
                              id, progress_text(task), task_text(task), id));
    wait_interruptible(DurationMs{wait_ms});
    wait_ms = std::min<std::int64_t>(wait_ms * 2, 500);
    if (interrupted()) break;
    const Json& number = task.contains("task") ? task.at("task") : Json();
    const ParamValue param =
        number.is_string() ? ParamValue{number.get<std::string>()} : ParamValue{int_at(task, "task")};
    Result<Json> next = link->ask("task", {{"task", param}});
    if (next.code() == Code::bad_argument) {  // Begun, and not known any more: the broker has restarted.
      return Status{
          next.code(),
          fmt::format("task {} is not known any more: it ended while the broker restarted (last seen: {}); "
                      "what it did is done",
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
    fmt::print(
        "task {0} goes on in the broker: {1}\n`jobq task {0}` watches it, `jobq task cancel {0}` stops it\n",
        raw_text_at(task, "task"), task_text(task));
  } else if (raw_text_at(task, "state") == "cancelled") {
    fmt::print("task {} was cancelled: {}\n", raw_text_at(task, "task"), task_text(task));
  } else {
    fmt::print("{}\n", task_text(task));
  }
  return still ? kExitInterrupted : kExitOk;
}

}  // namespace jobq::cli
