// The load of `jobq bench`: a producer and a worker made of the real library, in this process, on a queue that exists for
// nothing else. Three measurements, each for so long as it is told or until Ctrl-C:
//   full_cycle()      as fast as it goes with `window` unconfirmed jobs
//   paced()           so many jobs a second: how long until the OK, and until the handler has it
//   one_at_a_time()   the next job when the one before is confirmed
// Between two of them everything that is on its way is waited for.
//
// Thread-safety: one thread. Units are in the names.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "jobq/status.hpp"
#include "libjobq/base/time.hpp"

namespace jobq::cli {

struct BenchShape {
  std::size_t body_bytes = 256;  // at least 8: a body begins with the time of its sending
  std::size_t window = 1'000;
  bool pack = true;
};

struct BenchResult {
  std::uint64_t enqueued = 0, done = 0, refused = 0;  // refused: those that were not answered too
  double seconds = 0;
  double confirm_p50_us = 0, confirm_p99_us = 0, delivery_p50_us = 0, delivery_p99_us = 0;
};

class BenchLoad {
 public:
  // What is happening, for a line of progress: "234,000 jobs/s".
  using Show = std::function<void(const std::string& what)>;

  // Throws Error: bad_endpoint.
  BenchLoad(const std::string& endpoint, std::string queue, const BenchShape& shape);
  ~BenchLoad();
  BenchLoad(const BenchLoad&) = delete;
  BenchLoad& operator=(const BenchLoad&) = delete;

  // Enqueues one job and waits for the worker to have it.
  Status begin(DurationMs patience);
  BenchResult full_cycle(DurationMs span, const Show& show);
  BenchResult paced(DurationMs span, double jobs_per_second, const Show& show);
  BenchResult one_at_a_time(DurationMs span, const Show& show);
  // The worker finishes what it holds and leaves.
  void end();
  // The first of the refusals, ok() when there was none.
  [[nodiscard]] Status refusal() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace jobq::cli
