// One simulated run: the cast, the broker with its real loop, engine and store, the faults of the mix, then healing and
// the demand that everything ends; at last the judge's word.
//
//   RunResult result = run_once({.seed = 7, .mix = draw_mix(7, 1'000)});
//   if (!result.verdict.ok()) print(tell(result));
//
// A run depends on nothing but its seed and its mix. Two runs may be made one after the other in one process, not at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/faults/checker.hpp"
#include "tests/sim/fault_mix.hpp"

namespace jobq::sim {

struct RunOptions {
  std::uint64_t seed = 1;
  FaultMix mix;
  // A store that lies: at a crash it has lost what was written since it was opened (memory store only). A run with it has to
  // fail, or the run proves nothing.
  bool forgetful_store = false;
  std::uint64_t invariants_every = 64;  // turns between two slow walks over the engine; 0: none
};

struct RunResult {
  std::uint64_t seed = 0;
  FaultMix mix;
  std::uint64_t fingerprint = 0;
  std::int64_t took_ms = 0;  // of virtual time
  std::uint64_t turns = 0, commits = 0, crashes = 0, exits = 0, connections = 0, cuts = 0, lost_frames = 0;
  std::vector<faults::Event> history;
  faults::Dump dump;
  faults::Verdict verdict;
};

RunResult run_once(const RunOptions& options);
// Seed, mix, what is violated, and the whole story of the first job.
std::string tell(const RunResult& result);

}  // namespace jobq::sim
