// The clients of bench_broker: producer and worker processes made of the real library.
//
// Each function is the body of a process of its own (measurement.hpp, Child::run) and returns when SharedState::stop is
// set, or when it has done what it was asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "bench/measurement.hpp"

namespace jobq::bench {

// What a case asks of producers and workers.
struct Load {
  std::string endpoint;
  SharedState* shared = nullptr;
  std::string queue = "bench";
  std::uint32_t queues = 1;      // jobs are spread over queue-0, queue-1, ... when there are several
  std::uint32_t priorities = 1;  // and over so many priorities
  std::size_t body_bytes = 256;
  bool pack = true;                  // the library packs what waits into one message
  std::size_t window = 1000;         // jobs without a confirmation
  std::uint64_t in_flight = 20'000;  // jobs that no worker is through with, beside the backlog; 0: no limit
  std::uint64_t count = 0;           // enqueue so many, then end; 0: until stop
  double rate = 0;                   // jobs per second; 0: as many as the window lets through
  bool one_at_a_time = false;        // blocking calls
  std::int64_t delay_max_ms = 0;     // each job waits a random time up to this
  std::size_t unique_live = 0;       // each job has a unique key
  std::uint32_t producers = 1;       // clients on one runtime

  std::uint32_t workers = 1;       // sessions on one runtime (loose) or Worker objects
  std::size_t credit = 1000;       // jobs in the hands of each
  std::size_t held = 0;            // > 0: acked in random order out of so many in flight, over all workers
  std::uint32_t fail_percent = 0;  // so many of the first attempts fail
  bool time_deliveries = false;    // bodies carry when they were enqueued
};

void run_producer(const Load& load);
// jobq::Worker with one handler thread.
void run_worker(const Load& load);
// Sessions of the library's worker state machine on its I/O thread, with no thread per job: holds thousands of jobs at
// a time and acks them in any order.
void run_loose_worker(const Load& load);

}  // namespace jobq::bench
