// jobq compact DIR
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

int compact(const Globals& globals, const std::string& dir) {
  catch_interrupts();
  OfflineReport report;
  StoreProblem problem = StoreProblem::none;
  Status done;
  {
    Progress progress;
    done = compact_store(dir, offline_options(&progress), &report, &problem);
  }
  if (!report.left_over.empty())
    complain(
        fmt::format("{} was left over by a compaction that was cut short; it is gone now", report.left_over));
  if (!done.ok()) return offline_failure(done, problem);
  if (globals.json) {
    print_json({{"directory", dir},
                {"bytes_before", report.bytes_before},
                {"bytes_after", report.bytes_after},
                {"counts", counts_json(report.counts)}});
  } else {
    fmt::print("{}: {} before, {} now; {}\n", dir,
               format_bytes(static_cast<std::int64_t>(report.bytes_before)),
               format_bytes(static_cast<std::int64_t>(report.bytes_after)), counts_text(report.counts));
  }
  return kExitOk;
}

}  // namespace

void add_compact(CLI::App* app, Context* context) {
  auto dir = std::make_shared<std::string>();
  CLI::App* sub = app->add_subcommand("compact",
                                      "Offline: write a store anew without its free space, and so give that "
                                      "back to the disk. Needs room for the new file "
                                      "beside the old one; a crash leaves the old store or the new one");
  sub->add_option("DIR", *dir, "The data directory, while no broker has it open")->required();
  set_examples(sub,
               "  jobq stats                    (`store`: used is what would be left)\n"
               "  systemctl stop jobq-broker && jobq compact /var/lib/jobq; systemctl start jobq-broker");
  sub->callback(
      [dir, context] { context->run = [dir, context] { return compact(context->globals, *dir); }; });
}

}  // namespace jobq::cli
