// jobq restore FILE DIR
#include <fmt/format.h>

#include <memory>
#include <string>

#include "cli/command.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupt.hpp"
#include "cli/offline_report.hpp"
#include "cli/table.hpp"

namespace jobq::cli {
namespace {

struct Options {
  std::string file, dir;
};

int restore(const Globals& globals, const Options& options) {
  catch_interrupts();
  OfflineReport report;
  StoreProblem problem = StoreProblem::none;
  Status done;
  {
    Progress progress;
    done = restore_store(options.file, options.dir, offline_options(&progress), &report, &problem);
  }
  if (!report.left_over.empty())
    complain(
        fmt::format("{} was left over by a restore that was cut short; it is gone now", report.left_over));
  if (!done.ok()) return offline_failure(done, problem);
  if (globals.json) {
    print_json({{"file", options.file},
                {"directory", options.dir},
                {"bytes", report.bytes_after},
                {"as_of", report.counts.as_of.ms},
                {"counts", counts_json(report.counts)}});
  } else {
    fmt::print("{}\nas of {}; start the broker with --data {}\n", counts_text(report.counts),
               as_of_text(report.counts), options.dir);
  }
  return kExitOk;
}

}  // namespace

void add_restore(CLI::App* app, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* sub = app->add_subcommand(
      "restore",
      "Offline: make a directory the home of a backup. The backup is verified before and the copy after. "
      "What happened "
      "since the backup was made is not in it: jobs that were finished since then run again");
  sub->add_option("FILE", options->file, "The backup, as `jobq backup` made it")->required();
  sub->add_option("DIR", options->dir, "The new data directory: not there yet, or empty")->required();
  set_examples(sub,
               "  jobq restore /mnt/backups/monday.mdb /var/lib/jobq-monday\n"
               "  jobq-broker --data /var/lib/jobq-monday");
  sub->callback([options, context] {
    context->run = [options, context] { return restore(context->globals, *options); };
  });
}

}  // namespace jobq::cli
