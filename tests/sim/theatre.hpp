// Brings the cast on and off: starts producers, workers and operators, kills, freezes and replaces them as the mix says,
// and heals everything at the end. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/cast.hpp"

namespace jobq::sim {

class Theatre {
 public:
  Theatre(const Stage& stage, Script* script, const Ledger* ledger, std::uint64_t seed);

  void bring_on();
  // Plans the faults that befall processes.
  void plan_faults();
  // Everybody thaws and is there again; workers serve everything and succeed; queues are open.
  void heal();
  // Nobody has anything to ask or to wait for.
  [[nodiscard]] bool everybody_is_done() const;
  void count_at_the_end() { operators_.front()->count_at_the_end(); }

 private:
  template <typename Member>
  using Cast = std::vector<std::unique_ptr<Member>>;

  std::unique_ptr<SimProducer> new_producer(std::size_t place);
  std::unique_ptr<SimWorker> new_worker(std::size_t place);
  void every(std::int64_t mean_ms, std::uint64_t fault, void (Theatre::*what)(Prng*));
  void kill_one(Prng* prng);
  void freeze_one(Prng* prng);
  void one_leaves(Prng* prng);
  void say_died(const std::string& name);
  void sweep_out(Prng* /*prng*/) { sweep_out_who_has_left(); }
  void sweep_out_who_has_left();

  Stage stage_;
  Script* script_;
  const Ledger* ledger_;
  std::uint64_t seed_, next_member_ = 100;
  Cast<SimProducer> producers_;
  Cast<SimWorker> workers_;
  Cast<SimOperator> operators_;
};

}  // namespace jobq::sim
