// Many runs, side by side: each in a process of its own, so that a broken invariant (which ends the process) is a failed
// run with a seed like any other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/world.hpp"

namespace jobq::sim {

struct Campaign {
  std::uint64_t first = 1, seeds = 100, operations = 1'000;
  std::uint32_t processes = 2;
  std::uint64_t seconds_max = 0;
  std::uint64_t failures_max = 5;
  std::uint64_t invariants_every = 64;
  std::vector<std::string> without;
  bool quiet = false, fingerprints = false, forgetful_store = false;
};

RunOptions options_of(const Campaign& campaign, std::uint64_t seed);

// How a run ended that was made in a child process.
struct ChildRun {
  bool ok = false;
  std::string invariants;  // those that were violated, "I1 I5"; "died: ..." when the process did not survive
  std::string text;        // what to print
  std::uint64_t fingerprint = 0, events = 0, turns = 0;
  bool twice = false;  // made a second time, with the same fingerprint
  std::int64_t took_ms = 0;
};

// Starts a run in a child; a handle to wait for.
class Child {
 public:
  explicit Child(const RunOptions& options);
  ~Child();
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  // Readable: read_some() has something to do.
  [[nodiscard]] int descriptor() const { return from_; }
  [[nodiscard]] std::uint64_t seed() const { return seed_; }
  // Takes what there is to read; false: that was all, wait() will not wait.
  bool read_some();
  ChildRun wait();

 private:
  std::string said_;
  std::uint64_t seed_;
  int pid_ = -1, from_ = -1;
};

// Prints what fails and a summary; 0: nothing failed, 1: something did.
int run_campaign(const Campaign& campaign);

}  // namespace jobq::sim
