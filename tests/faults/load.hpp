// The parts of load.cpp: a producer and a worker that write down everything they ask and are told.
// Both run until the process gets SIGTERM. One thread calls; the history writer is shared with the library's
// I/O thread.
#pragma once

#include <cstdint>
#include <string>

#include "tests/faults/history.hpp"

namespace jobq::faults {

struct LoadOptions {
  std::string endpoint;
  std::string name;  // the process in the history
  std::string queue = "load";
  std::uint64_t seed = 1;
};

int run_producer(const LoadOptions& options, HistoryWriter* history);
int run_worker(const LoadOptions& options, HistoryWriter* history);
// Prints the queue's counts as one JSON object. 1: no broker has answered.
int print_counts(const LoadOptions& options);

// Waits up to so long for SIGTERM or SIGINT, which must be blocked. True: it came.
bool asked_to_stop(std::int64_t wait_ms);

std::string hash_text(std::string_view body);

}  // namespace jobq::faults
