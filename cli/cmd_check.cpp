// jobq check [DIR] [--dump] [--repair NEW_DIR]: a store without a broker, or a running broker for monitoring
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "broker/store/repair.hpp"
#include "cli/broker_link.hpp"
#include "cli/command.hpp"
#include "cli/exit_codes.hpp"
#include "cli/health_view.hpp"
#include "cli/instant.hpp"
#include "cli/interrupt.hpp"
#include "cli/offline_report.hpp"
#include "cli/table.hpp"

namespace jobq::cli {
namespace {

struct Options {
  std::string dir, repair_into;
  bool dump = false;
  std::vector<std::string> ignored;
};

std::string digits(std::uint64_t number) { return group_digits(static_cast<std::int64_t>(number)); }

std::string count_of(std::uint64_t number, const char* noun) {
  return fmt::format("{} {}{}", digits(number), noun, number == 1 ? "" : "s");
}

int check_store_of(const Globals& globals, const Options& options) {
  catch_interrupts();
  Json problems = Json::array();
  ProblemLines shown;
  Progress progress;
  const auto sink = [&](std::string_view line) {
    progress.clear();
    const Json row = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool problem = raw_text_at(row, "kind") == "problem";
    if (options.dump) {
      std::fputs((std::string{line} + "\n").c_str(), stdout);
    } else if (problem && globals.json) {
      problems.push_back(row);
    } else if (problem) {
      shown.show(row);
    }
  };
  const auto go_on = [&] {
    progress.show("reading " + options.dir + " ...");
    return !interrupted();
  };
  CheckCounts counts;
  StoreProblem why{};
  const Status done =
      check_store({.path = options.dir, .dump = options.dump, .go_on = go_on}, sink, &counts, &why);
  progress.clear();
  if (!done.ok()) {
    complain(done.text());
    if (why == StoreProblem::interrupted) return kExitInterrupted;
    return why == StoreProblem::damaged || counts.problems > 0 ? kExitRefused : kExitNoInput;
  }
  if (globals.json && !options.dump) {
    print_json({{"path", options.dir}, {"counts", counts_json(counts)}, {"problems", problems}});
  } else if (!options.dump) {
    shown.show_rest();
    fmt::print("{}; {}\n", counts_text(counts),
               counts.problems == 0 ? std::string{"no problems"} : count_of(counts.problems, "problem"));
    if (counts.problems > 0)
      complain(
          fmt::format("`jobq check {} --repair NEW_DIR` saves the sound jobs into a new store", options.dir));
  }
  return counts.problems > 0 ? kExitRefused : kExitOk;
}

// ---- --repair ----------------------------------------------------------------------------------

std::string found_text(const Json& row) {
  const std::string kind = raw_text_at(row, "kind"), queue = text_at(row, "queue");
  const std::string of = queue.empty() ? "" : fmt::format(" ({})", queue);
  if (kind == "lost") return fmt::format("lost: job {}{}: {}", text_at(row, "id"), of, text_at(row, "text"));
  if (kind == "lost_range") return "lost, some of: " + text_at(row, "text");
  if (kind == "uncertain")
    return fmt::format("uncertain: job {}{}: {}", text_at(row, "id"), of, text_at(row, "text"));
  if (kind == "row")
    return fmt::format("damaged row: {} {}: {}", text_at(row, "table"), text_at(row, "key"),
                       text_at(row, "text"));
  if (kind == "page") return "damaged page: " + text_at(row, "text");
  if (const std::string id = text_at(row, "id"); !id.empty())
    return fmt::format("{}: job {}{}: {}", kind, id, of, text_at(row, "text"));
  return fmt::format("{}: {}", kind, text_at(row, "text"));
}

Json report_json(const RepairReport& report) {
  return {{"lost", report.lost},
          {"lost_ranges", report.lost_ranges},
          {"uncertain", report.uncertain},
          {"damaged_pages", report.damaged_pages},
          {"damaged_rows", report.damaged_rows},
          {"changed", report.changed},
          {"leases_returned", report.leases_returned}};
}

int repair(const Globals& globals, const Options& options) {
  catch_interrupts();
  Json found = Json::array();
  RepairReport report;
  StoreProblem problem = StoreProblem::none;
  Status done;
  {
    Progress progress;
    OfflineOptions offline = offline_options(&progress);
    offline.problem_line = [&](std::string_view line) {
      progress.clear();
      Json row = Json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (globals.json) {
        found.push_back(std::move(row));
      } else {
        fmt::print("{}\n", found_text(row));
      }
    };
    done = repair_store(options.dir, options.repair_into, wall_now(), offline, &report, &problem);
  }
  if (!done.ok()) return offline_failure(done, problem);
  if (globals.json) {
    print_json({{"path", options.dir},
                {"new_directory", options.repair_into},
                {"counts", counts_json(report.counts)},
                {"report", report_json(report)},
                {"found", std::move(found)}});
  } else {
    fmt::print("saved into {}: {}\n", options.repair_into, counts_text(report.counts));
    if (report.leases_returned > 0)
      fmt::print("{} that had been leased {} ready again\n", count_of(report.leases_returned, "job"),
                 report.leases_returned == 1 ? "is" : "are");
    fmt::print("{}\n",
               report.clean()
                   ? "nothing is lost"
                   : fmt::format("lost: {}{}; uncertain: {}; damaged: {}, {}; made up for: {}",
                                 count_of(report.lost, "job"),
                                 report.lost_ranges > 0
                                     ? fmt::format(" and some of {}", count_of(report.lost_ranges, "range"))
                                     : "",
                                 digits(report.uncertain), count_of(report.damaged_pages, "page"),
                                 count_of(report.damaged_rows, "row"), digits(report.changed)));
  }
  return report.clean() ? kExitOk : kExitRefused;
}

// ---- a running broker --------------------------------------------------------------------------

int finish(const Globals& globals, const HealthReport& report) {
  if (globals.json) {
    print_json(report.json);
  } else {
    std::fputs(report.text.c_str(), stdout);
  }
  return static_cast<int>(report.health);
}

int check_broker(const Globals& globals, const Options& options) {
  BrokerLink link(globals);
  const Result<Json> stats = link.ask("stats");
  if (!stats.ok()) {
    const bool away = stats.code() == Code::unreachable || stats.code() == Code::timed_out ||
                      stats.code() == Code::shutting_down;
    return finish(globals,
                  health_without_answer(away ? Health::critical : Health::unknown, stats.status().text()));
  }
  return finish(globals, health_of(*stats, options.ignored));
}

int run(const Globals& globals, const Options& options) {
  if (!options.repair_into.empty() && options.dump) {
    complain(
        "--dump and --repair exclude each other; `jobq check DIR --dump` first, then `--repair NEW_DIR`");
    return kExitUsage;
  }
  if (options.dir.empty() && (options.dump || !options.repair_into.empty())) {
    complain(
        "--dump and --repair work on the DIR of a store, while no broker has it open; `jobq check --help` "
        "shows how");
    return kExitUsage;
  }
  if (!options.dir.empty() && !options.ignored.empty()) {
    complain("--ignore is for the check of a running broker, without DIR; `jobq check --help` shows how");
    return kExitUsage;
  }
  if (options.dir.empty()) return check_broker(globals, options);
  return options.repair_into.empty() ? check_store_of(globals, options) : repair(globals, options);
}

}  // namespace

void add_check(CLI::App* app, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* sub =
      app->add_subcommand("check",
                          "Without DIR: the health of a running broker, for monitoring (exit code 0 ok, 1 "
                          "warning, 2 critical, 3 unknown). "
                          "With DIR, offline: recount a data directory and say what does not fit");
  sub->add_option("DIR", options->dir,
                  "The broker's data directory, while no broker has it open; or a backup");
  sub->add_flag("--dump", options->dump, "Every job, queue and problem of DIR as a line of JSON");
  sub->add_option(
         "--repair", options->repair_into,
         "Save every sound job of DIR into a new store, and list what cannot be saved; DIR is only read")
      ->type_name("NEW_DIR");
  sub->add_option(
         "--ignore", options->ignored,
         "Kinds of problems of the broker that do not count here, like paused_with_jobs; again and again")
      ->type_name("KIND")
      ->take_all()
      ->expected(1);
  set_examples(
      sub,
      "  jobq check                                      is the broker well? for Nagios and its kin\n"
      "  jobq check ./jobq-data                          is the store sound?\n"
      "  jobq check ./jobq-data --dump | grep '\"state\":\"dead\"'\n"
      "  jobq check ./jobq-data --repair ./jobq-repaired");
  sub->callback(
      [options, context] { context->run = [options, context] { return run(context->globals, *options); }; });
}

}  // namespace jobq::cli
