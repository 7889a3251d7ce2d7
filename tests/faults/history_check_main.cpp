// jobq-history-check HISTORY DUMP: judges a run. HISTORY: history lines (several files may be put one behind
// the other). DUMP: what `jobq check DIR --dump` printed. Exit code 0: nothing is violated; 1: something is; 2:
// the files cannot be read.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>

#include "tests/faults/checker.hpp"

int main(int argc, char** argv) {
  CLI::App app{"Judges the history of a run against the dump of its store."};
  std::string history_path, dump_path;
  jobq::faults::CheckerOptions options;
  app.add_option("HISTORY", history_path, "history lines")->required();
  app.add_option("DUMP", dump_path, "the output of `jobq check DIR --dump`")->required();
  app.add_flag("--drained", options.drained, "the run ended with a drain: only dead jobs may be left");
  CLI11_PARSE(app, argc, argv);
  std::ifstream history_file{history_path}, dump_file{dump_path};
  if (!history_file || !dump_file) {
    std::fprintf(stderr, "jobq-history-check: cannot read %s\n",
                 (history_file ? dump_path : history_path).c_str());
    return 2;
  }
  const auto history = jobq::faults::read_history(&history_file);
  const auto dump = jobq::faults::read_dump(&dump_file);
  if (!history.ok() || !dump.ok()) {
    const jobq::Status& status = history.ok() ? dump.status() : history.status();
    std::fprintf(stderr, "jobq-history-check: %s\n", status.text().c_str());
    return 2;
  }
  const jobq::faults::Verdict verdict = jobq::faults::check_history(*history, *dump, options);
  std::fputs(jobq::faults::report(verdict, *history, *dump).c_str(), stdout);
  return verdict.ok() ? 0 : 1;
}
