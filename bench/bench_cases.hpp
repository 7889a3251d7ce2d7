// The cases of bench_broker: what each lets at the broker, and what is measured of it.
//
// The functions are for the measuring process, which forks before it has a thread of its own; REQUIRES of each: no client
// of the library lives in this process. Not thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/bench_load.hpp"
#include "bench/bench_server.hpp"
#include "bench/measurement.hpp"

namespace jobq::bench {

enum class Measure {
  traffic,  // rate, CPU per job, latencies
  restart,  // kill -9, start, first delivery
  churn,    // slices of a long run against each other, and the size of the store
  idle,     // the broker's CPU while its workers wait
  refill,   // the size of the store when a backlog was drained and comes again
};

struct Case {
  std::string name;
  std::string meaning;
  Load load;
  std::uint64_t backlog = 0;            // jobs that wait before anything is measured
  std::int64_t backlog_delay_ms = 0;    // they are scheduled, spread over this time
  bool producer = true, worker = true;  // who takes part
  bool loose = false;                   // which worker
  bool stopped_worker = false;          // one more worker takes jobs and is then stopped (SIGSTOP)
  Measure measure = Measure::traffic;
};

std::vector<Case> all_cases();

// So many that together they may hold `held` jobs: each has a credit of 10,000 at most.
inline std::uint32_t workers_for(std::size_t held) { return static_cast<std::uint32_t>(1 + held / 8'000); }

struct Timing {
  double seconds = 3, warm_up = 1;
  double minutes = 1;  // of churn
  std::string bare;    // the program bare_loop, run between the slices of churn; empty: not
  std::string directory = std::filesystem::temp_directory_path().string();  // where its store lies meanwhile
};

// `load` is the case's with endpoint and shared state filled in.
void preload(const Case& what, const Broker& broker, SharedState* shared);
Row measure_traffic(const Case& what, const Timing& timing, Broker* broker, const Load& load);
Row measure_restart(const Case& what, Broker* broker, const Load& load);
// Prints a line a slice to stderr. The row's rate and CPU are those of the last slice, and it says its ratio to the first.
Row measure_churn(const Case& what, const Timing& timing, Broker* broker, const Load& load);
Row measure_idle(const Case& what, const Timing& timing, Broker* broker, const Load& load);
Row measure_refill(const Case& what, Broker* broker, const Load& load);

// Shared by the measurements.
Child start_worker(const Case& what, const Load& load);
void wait_until_ready(SharedState* shared, std::uint32_t processes, Broker* broker);

}  // namespace jobq::bench
