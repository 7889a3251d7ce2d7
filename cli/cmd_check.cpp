// jobq check DIR [--dump]
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "broker/store/check_store.hpp"
#include "cli/command.hpp"
#include "cli/document.hpp"
#include "cli/exit_codes.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"

namespace jobq::cli {
namespace {

struct Options {
  std::string dir;
  bool dump = false;
};

// A line of the checker for people: what is wrong and where.
std::string problem_text(const Json& problem) {
  const std::string key = text_at(problem, "key");
  return fmt::format("{}{}: {}", text_at(problem, "table", "store"), key.empty() ? "" : " " + key,
                     text_at(problem, "text"));
}

std::string counts_text(const CheckCounts& counts) {
  const auto digits = [](std::uint64_t number) { return group_digits(static_cast<std::int64_t>(number)); };
  return fmt::format("{} jobs in {} queues: {} ready, {} scheduled, {} leased, {} dead", digits(counts.jobs),
                     digits(counts.queues), digits(counts.ready), digits(counts.scheduled),
                     digits(counts.leased), digits(counts.dead));
}

Json counts_json(const CheckCounts& counts) {
  return {{"jobs", counts.jobs},     {"ready", counts.ready},      {"scheduled", counts.scheduled},
          {"leased", counts.leased}, {"dead", counts.dead},        {"awaiting_sweep", counts.awaiting_sweep},
          {"queues", counts.queues}, {"problems", counts.problems}};
}

int check(const Globals& globals, const Options& options) {
  Json problems = Json::array();
  // No progress here: the checker forks, which wants a process with one thread, and reads at the speed of the disk.
  const auto sink = [&](std::string_view line) {
    const Json row = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool problem = raw_text_at(row, "kind") == "problem";
    if (options.dump) {
      std::fputs((std::string{line} + "\n").c_str(), stdout);
    } else if (problem && globals.json) {
      problems.push_back(row);
    } else if (problem) {
      fmt::print("{}\n", problem_text(row));
    }
  };
  CheckCounts counts;
  StoreProblem why{};
  const Status done = check_store({.path = options.dir, .dump = options.dump}, sink, &counts, &why);
  if (!done.ok()) {
    complain(done.text());
    return why == StoreProblem::damaged || counts.problems > 0 ? kExitRefused : kExitNoInput;
  }
  if (globals.json && !options.dump) {
    print_json({{"path", options.dir}, {"counts", counts_json(counts)}, {"problems", problems}});
  } else if (!options.dump) {
    fmt::print("{}; {}\n", counts_text(counts),
               counts.problems == 0
                   ? std::string{"no problems"}
                   : fmt::format("{} problems", group_digits(static_cast<std::int64_t>(counts.problems))));
  }
  return counts.problems > 0 ? kExitRefused : kExitOk;
}

}  // namespace

void add_check(CLI::App* app, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* sub = app->add_subcommand("check", "Offline: recount a data directory and say what does not fit");
  sub->add_option("DIR", options->dir,
                  "The broker's data directory, while no broker has it open; or a backup")
      ->required();
  sub->add_flag("--dump", options->dump, "Every job, queue and problem as a line of JSON");
  set_examples(sub,
               "  jobq check ./jobq-data\n"
               "  jobq check ./jobq-data --dump | grep '\"state\":\"dead\"'");
  sub->callback([options, context] {
    context->run = [options, context] { return check(context->globals, *options); };
  });
}

}  // namespace jobq::cli
