#include "cli/offline_report.hpp"

#include <fmt/format.h>

#include <string>

#include "cli/exit_codes.hpp"
#include "cli/instant.hpp"
#include "cli/interrupt.hpp"
#include "cli/table.hpp"

namespace jobq::cli {

std::string problem_text(const Json& problem) {
  const std::string key = text_at(problem, "key");
  return fmt::format("{}{}: {}", text_at(problem, "table", "store"), key.empty() ? "" : " " + key,
                     text_at(problem, "text"));
}

namespace {

constexpr std::uint64_t kShownOfAKind = 10;

// "lane_index: it is ready and not in the index of its lane", whichever job that is.
std::string kind_of(const Json& problem) {
  std::string text = text_at(problem, "text");
  if (const std::size_t colon = text.find(": "); text.starts_with("job ") && colon != std::string::npos)
    text.erase(0, colon + 2);
  return text_at(problem, "table", "store") + ": " + text;
}

}  // namespace

void ProblemLines::show(const Json& problem) {
  if (seen_[kind_of(problem)]++ < kShownOfAKind) fmt::print("{}\n", problem_text(problem));
}

void ProblemLines::show_rest() const {
  for (const auto& [kind, count] : seen_) {
    if (count <= kShownOfAKind) continue;
    fmt::print("and {} more in {} (--json lists all)\n",
               group_digits(static_cast<std::int64_t>(count - kShownOfAKind)), kind);
  }
}

std::string counts_text(const CheckCounts& counts) {
  const auto digits = [](std::uint64_t number) { return group_digits(static_cast<std::int64_t>(number)); };
  return fmt::format("{} job{} in {} queue{}: {} ready, {} scheduled, {} leased, {} dead",
                     digits(counts.jobs), counts.jobs == 1 ? "" : "s", digits(counts.queues),
                     counts.queues == 1 ? "" : "s", digits(counts.ready), digits(counts.scheduled),
                     digits(counts.leased), digits(counts.dead));
}

Json counts_json(const CheckCounts& counts) {
  return {{"jobs", counts.jobs},     {"ready", counts.ready},      {"scheduled", counts.scheduled},
          {"leased", counts.leased}, {"dead", counts.dead},        {"awaiting_sweep", counts.awaiting_sweep},
          {"queues", counts.queues}, {"problems", counts.problems}};
}

std::string as_of_text(const CheckCounts& counts) { return format_instant(counts.as_of); }

OfflineOptions offline_options(Progress* progress) {
  OfflineOptions options;
  options.progress = [progress](std::string_view doing, std::uint64_t done, std::uint64_t of) {
    const auto bytes = [](std::uint64_t number) { return format_bytes(static_cast<std::int64_t>(number)); };
    if (of > 0) {
      progress->show(fmt::format("{}: {} of {}", doing, bytes(done), bytes(of)));
    } else {
      progress->show(fmt::format("{} ...", doing));
    }
    return !interrupted();
  };
  options.problem_line = [progress](std::string_view line) {
    const Json row = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (raw_text_at(row, "kind") != "problem") return;
    progress->clear();
    complain(problem_text(row));
  };
  return options;
}

int offline_failure(const Status& status, StoreProblem problem) {
  complain(status.text());
  switch (problem) {
    case StoreProblem::interrupted:
      return kExitInterrupted;
    case StoreProblem::already_open:
    case StoreProblem::damaged:
    case StoreProblem::not_empty:
      return kExitRefused;
    case StoreProblem::no_space:
      return kExitTryAgain;
    case StoreProblem::none:
    case StoreProblem::not_a_store:
    case StoreProblem::newer_format:
    case StoreProblem::read_only:
    case StoreProblem::network_fs:
    case StoreProblem::io:
      break;
  }
  return kExitNoInput;
}

}  // namespace jobq::cli
