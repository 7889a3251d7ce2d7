#include "cli/health_view.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/duration.hpp"
#include "cli/table.hpp"

namespace jobq::cli {
namespace {

const char* name_of(Health health) {
  switch (health) {
    case Health::ok:
      return "OK";
    case Health::warning:
      return "WARNING";
    case Health::critical:
      return "CRITICAL";
    case Health::unknown:
      return "UNKNOWN";
  }
  return "UNKNOWN";
}

std::string problem_line(const Json& problem) {
  const std::string queue = text_at(problem, "queue"), remedy = text_at(problem, "remedy");
  return fmt::format("{}{}{}", queue.empty() ? "" : queue + ": ", text_at(problem, "text"),
                     remedy.empty() ? "" : " -> " + remedy);
}

// A bar begins the figures of a plugin's line: in a text it would break them.
std::string without_bars(std::string text) {
  std::replace(text.begin(), text.end(), '|', '/');
  return text;
}

}  // namespace

HealthReport health_of(const Json& stats, const std::vector<std::string>& ignored) {
  HealthReport report;
  std::vector<const Json*> critical, warning;
  for (const Json& problem : array_at(stats, "problems")) {
    if (std::find(ignored.begin(), ignored.end(), raw_text_at(problem, "kind")) != ignored.end()) continue;
    (raw_text_at(problem, "severity") == "critical" ? critical : warning).push_back(&problem);
  }
  report.health = !critical.empty() ? Health::critical : !warning.empty() ? Health::warning : Health::ok;
  std::vector<const Json*> all = critical;
  all.insert(all.end(), warning.begin(), warning.end());

  std::int64_t ready = 0, leased = 0, scheduled = 0, dead = 0, oldest = 0;
  for (const Json& queue : array_at(stats, "queues")) {
    ready += int_at(queue, "ready");
    leased += int_at(queue, "leased");
    scheduled += int_at(queue, "scheduled");
    dead += int_at(queue, "dead");
    oldest = std::max(oldest, int_at(queue, "oldest_ready_ms"));
  }
  const Json& store = object_at(stats, "store");
  const std::size_t queues = array_at(stats, "queues").size();
  std::string summary;
  if (all.empty()) {
    summary = fmt::format("no problems; {} ready, {} leased, {} dead in {} queue{}", group_digits(ready),
                          group_digits(leased), group_digits(dead), queues, queues == 1 ? "" : "s");
  } else {
    summary = problem_line(*all.front());
    if (all.size() > 1) summary += fmt::format(" (and {} more)", all.size() - 1);
  }
  report.text = fmt::format(
      "JOBQ {} - {} | ready={} leased={} scheduled={} dead={} oldest_ready={}ms store_used={}B "
      "disk_free={}B\n",
      name_of(report.health), without_bars(summary), ready, leased, scheduled, dead, oldest,
      int_at(store, "used_bytes"), int_at(store, "disk_free_bytes"));
  for (std::size_t i = 1; i < all.size(); ++i) {
    const bool is_critical = i < critical.size();
    report.text +=
        fmt::format("{} {}\n", is_critical ? "CRITICAL" : "WARNING", without_bars(problem_line(*all[i])));
  }
  Json problems = Json::array();
  for (const Json* problem : all) problems.push_back(*problem);
  report.json = {{"status", name_of(report.health)},
                 {"code", static_cast<int>(report.health)},
                 {"problems", std::move(problems)},
                 {"ready", ready},
                 {"leased", leased},
                 {"scheduled", scheduled},
                 {"dead", dead},
                 {"oldest_ready_ms", oldest}};
  return report;
}

HealthReport health_without_answer(Health health, const std::string& why) {
  return {health,
          fmt::format("JOBQ {} - {}\n", name_of(health), without_bars(why)),
          {{"status", name_of(health)}, {"code", static_cast<int>(health)}, {"text", why}}};
}

}  // namespace jobq::cli
