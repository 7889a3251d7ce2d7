// What batch_writer writes and power_cut_test.cpp expects: the same batches from the same seed. Every batch
// moves the engine clock on, so that the clock in a recovered mark says how many batches a store holds.
// Not thread-safe; may be copied.
#pragma once

#include "broker/store/lmdb_options.hpp"
#include "tests/store/legal_batches.hpp"

namespace jobq::faults {

class CrashWorkload {
 public:
  explicit CrashWorkload(std::uint64_t seed, const RandomLimits& limits = {.live_target = 150,
                                                                           .body_bytes_max = 60'000,
                                                                           .changes_max = 40})
      : prng_(seed), limits_(limits) {}

  LegalBatch next() {
    batches_.pass_time(1);
    return batches_.random_batch(&prng_, limits_);
  }
  [[nodiscard]] const LegalBatches& batches() const { return batches_; }

 private:
  Prng prng_;
  RandomLimits limits_;
  LegalBatches batches_;
};

inline LmdbOptions crash_options(const std::string& directory) {
  LmdbOptions options;
  options.path = directory;
  options.map_bytes = std::uint64_t{256} << 20;
  options.preallocate_step_bytes = std::uint64_t{1} << 18;  // small, so that a run grows several times
  return options;
}

}  // namespace jobq::faults
