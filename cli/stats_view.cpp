#include "cli/stats_view.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "cli/duration.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {
namespace {

std::string count_of(std::size_t number, const char* noun) {
  return fmt::format("{} {}{}", number, noun, number == 1 ? "" : "s");
}

std::string age_or_dash(const Json& object, const char* key) {
  const auto ms = maybe_int_at(object, key);
  return ms ? format_duration(*ms) : "-";
}

// The forecast is a number of seconds; of a paused queue there is none. Nil: it does not drain (more comes in than goes out), or nothing moves.
std::string drains_in(const Json& queue) {
  if (bool_at(queue, "paused")) return "paused";
  if (int_at(queue, "ready") + int_at(queue, "leased") == 0) return "-";
  const auto seconds = maybe_int_at(queue, "drains_in_s");
  if (seconds) return format_duration(*seconds * 1000);
  return "never";
}

std::string broker_line(const Json& broker) {
  std::string line = fmt::format("jobq-broker {}, pid {}, up {}", text_at(broker, "version", "?"),
                                 int_at(broker, "pid"), format_duration(int_at(broker, "uptime_ms")));
  std::string endpoints;
  for (const Json& endpoint : array_at(broker, "endpoints")) {
    if (endpoint.is_string())
      endpoints += (endpoints.empty() ? "" : " ") + printable(endpoint.get<std::string>());
  }
  if (!endpoints.empty()) line += ", on " + endpoints;
  line +=
      fmt::format("; {}, {}", count_of(static_cast<std::size_t>(int_at(broker, "connections")), "connection"),
                  count_of(static_cast<std::size_t>(int_at(broker, "sessions")), "worker session"));
  if (const std::string refusing = text_at(broker, "refusing"); !refusing.empty()) {
    line += "; " + ink(Ink::red, "REFUSING NEW JOBS: " + refusing);
  }
  if (const auto rejected = int_at(broker, "rejected_messages"); rejected > 0) {
    line += fmt::format("; {} bad messages, {} connections cut", group_digits(rejected),
                        group_digits(int_at(broker, "cut_connections")));
  }
  return line;
}

std::string store_line(const Json& store) {
  const auto used = int_at(store, "used_bytes"), map = int_at(store, "map_bytes");
  std::string line =
      fmt::format("{}: {} of {} used ({}), disk free {}", text_at(store, "path", "?"), format_bytes(used),
                  format_bytes(map), format_percent(static_cast<double>(used), static_cast<double>(map)),
                  format_bytes(int_at(store, "disk_free_bytes")));
  line += fmt::format("; {} commits, last {:.1f}ms, longest {:.1f}ms", group_digits(int_at(store, "commits")),
                      number_at(store, "commit_us_last") / 1000, number_at(store, "commit_us_max") / 1000);
  if (const auto reader_ms = int_at(store, "oldest_reader_ms"); reader_ms >= 1'000)
    line += fmt::format("; oldest reader {}", format_duration(reader_ms));
  if (const auto damaged = int_at(store, "damaged_records"); damaged > 0) {
    line += "; " + ink(Ink::red, fmt::format("{} DAMAGED RECORDS (stop the broker and run `jobq check DIR`)",
                                             group_digits(damaged)));
  }
  return line;
}

}  // namespace

std::string render_problems(const Json& problems, std::size_t width) {
  if (problems.empty()) return ink(Ink::green, "no problems") + "\n";
  // Critical ones first, else in the broker's order.
  std::vector<const Json*> sorted;
  for (const Json& problem : problems) sorted.push_back(&problem);
  std::stable_partition(sorted.begin(), sorted.end(),
                        [](const Json* problem) { return raw_text_at(*problem, "severity") == "critical"; });
  std::string out = ink(Ink::bold, count_of(problems.size(), "problem")) + "\n";
  for (const Json* problem : sorted) {
    const bool critical = raw_text_at(*problem, "severity") == "critical";
    const std::string queue = text_at(*problem, "queue");
    const std::string text = (queue.empty() ? "" : queue + ": ") + text_at(*problem, "text");
    out += fmt::format("  {}  {}\n", critical ? ink(Ink::red, "CRITICAL") : ink(Ink::yellow, "warning "),
                       wrap(text, width > 40 ? width - 12 : 0, 12));
    if (const std::string remedy = text_at(*problem, "remedy"); !remedy.empty()) {
      out += fmt::format("            -> {}\n", wrap(remedy, width > 40 ? width - 15 : 0, 15));
    }
  }
  return out;
}

std::string render_queues(const Json& queues, std::size_t width) {
  if (queues.empty()) return "no queues yet: the first `jobq enqueue QUEUE` makes one\n";
  Table table({{"QUEUE", Align::left},
               {"READY", Align::right},
               {"LEASED", Align::right},
               {"SCHEDULED", Align::right, "SCHED"},
               {"DEAD", Align::right},
               {"OLDEST READY", Align::right, "OLDEST"},
               {"IN/S", Align::right},
               {"OUT/S", Align::right},
               {"FAILED", Align::right, "", 2},
               {"DRAINS IN", Align::right, "DRAINS"},
               {"WORKERS", Align::right, "WRKRS", 1},
               {"SLOTS", Align::right, "", 3}});
  for (const Json& queue : queues) {
    const double failed = number_at(queue, "failed_total");
    table.add({text_at(queue, "name"), group_digits(int_at(queue, "ready")),
               group_digits(int_at(queue, "leased")), group_digits(int_at(queue, "scheduled")),
               group_digits(int_at(queue, "dead")), age_or_dash(queue, "oldest_ready_ms"),
               format_rate(number_at(queue, "enqueued_per_s")), format_rate(number_at(queue, "acked_per_s")),
               format_percent(failed, failed + number_at(queue, "acked_total")), drains_in(queue),
               group_digits(int_at(queue, "workers")), group_digits(int_at(queue, "slots"))});
  }
  return table.render(width, bold_on());
}

std::string render_stats(const Json& document, std::size_t width) {
  const std::size_t room = width > 40 ? width - 8 : 0;
  return fmt::format("{}\n{}\nbroker  {}\nstore   {}\n",
                     render_problems(array_at(document, "problems"), width),
                     render_queues(array_at(document, "queues"), width),
                     wrap(broker_line(object_at(document, "broker")), room, 8),
                     wrap(store_line(object_at(document, "store")), room, 8));
}

}  // namespace jobq::cli
