#include "tests/sim/minimiser.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace jobq::sim {
namespace {

class Minimiser {
 public:
  Minimiser(Campaign campaign, std::uint64_t seed) : campaign_(std::move(campaign)), seed_(seed) {}

  int run() {
    best_ = Child{options_of(campaign_, seed_)}.wait();
    if (best_.ok) {
      fmt::print("seed {} does not fail with {} operations\n", seed_, campaign_.operations);
      return 0;
    }
    wanted_ = best_.invariants.substr(0, best_.invariants.find(' '));
    fmt::print("seed {} fails: {} ({} events)\n", seed_, best_.invariants, best_.events);
    shorten();
    drop_faults();
    shorten();
    fmt::print(
        "\n{}\n\nrepeat it with: jobq-sim --seed {} --ops {}{}\n", best_.text, seed_, campaign_.operations,
        campaign_.without.empty() ? "" : fmt::format(" --without {}", fmt::join(campaign_.without, ",")));
    return 1;
  }

 private:
  // Keeps the change when the run still violates the invariant that it violated at first.
  bool try_it(const Campaign& changed, const std::string& what) {
    ChildRun run = Child{options_of(changed, seed_)}.wait();
    const bool fails = !run.ok && (" " + run.invariants + " ").find(" " + wanted_ + " ") != std::string::npos;
    const bool died = !run.ok && run.invariants == best_.invariants;
    if (!fails && !died) return false;
    campaign_ = changed;
    best_ = std::move(run);
    fmt::print("  {}: still fails ({} events)\n", what, best_.events);
    std::fflush(stdout);
    return true;
  }

  // A run with fewer operations begins like one with more: halves first, then smaller and smaller steps.
  void shorten() {
    for (std::uint64_t step = campaign_.operations / 2; step > 0;) {
      Campaign changed = campaign_;
      changed.operations -= std::min(step, changed.operations - 1);
      if (changed.operations == campaign_.operations ||
          !try_it(changed, fmt::format("{} operations", changed.operations)))
        step /= 2;
      step = std::min(step, campaign_.operations / 2);
    }
  }

  void drop_faults() {
    for (const std::string_view fault : fault_names()) {
      const auto& off = campaign_.without;
      if (std::find(off.begin(), off.end(), fault) != off.end()) continue;
      FaultMix with = options_of(campaign_, seed_).mix, without = with;
      switch_off(fault, &without);
      if (describe(with) == describe(without)) continue;
      Campaign changed = campaign_;
      changed.without.emplace_back(fault);
      try_it(changed, fmt::format("without {}", fault));
    }
  }

  Campaign campaign_;
  std::uint64_t seed_;
  std::string wanted_;
  ChildRun best_;
};

}  // namespace

int minimise(const Campaign& campaign, std::uint64_t seed) { return Minimiser{campaign, seed}.run(); }

}  // namespace jobq::sim
