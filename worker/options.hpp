// What the command line of jobq-worker says, checked.
//
// Thread-safety: plain values.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "jobq/options.hpp"
#include "jobq/status.hpp"

namespace jobq::runner {

using std::chrono::milliseconds;

struct Options {
  std::string endpoint = "tcp://127.0.0.1:7710";
  std::vector<WorkerQueue> queues;
  std::vector<std::string> types;  // empty: all
  std::size_t concurrency = 1;
  milliseconds max_run{0};  // 0: only the job's own max_run_time
  milliseconds kill_after{5'000};
  milliseconds drain_timeout{25'000};
  bool persistent = false;
  std::uint64_t recycle_after = 0;  // jobs; 0: never
  bool pass_stdout = true;
  bool pass_stderr = true;
  bool verbose = false;
  std::string name;
  std::vector<std::string> command;  // argv
  std::string path;                  // of the program
};

// "receipts" or "receipts:3".
Result<WorkerQueue> parse_queue(std::string_view text);

// Prints what is wrong, the help or the version; then the exit code to end with.
std::variant<Options, int> read_command_line(int argc, char** argv);

// Prints "jobq-worker: <text>" to stderr.
void complain(std::string_view text);

}  // namespace jobq::runner
