// The broker in the simulation: its real loop (broker/server), engine and store, process after process. Each life is one
// process: it ends by kill -9 at any point, by a polite stop, or by itself after a failed commit, and the next one opens
// what the store has kept.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "broker/server/server.hpp"
#include "broker/store/memory_store.hpp"
#include "tests/sim/broker_transport.hpp"
#include "tests/sim/cast.hpp"

namespace jobq::sim {

class BrokerLives {
 public:
  struct Parts {
    Timeline* timeline;
    Network* network;
    Chronicle* chronicle;
    Ledger* ledger;
    StoreFaults* faults;
    Script* script;
    const FaultMix* mix;
    std::uint64_t seed;
    std::uint64_t invariants_every;
    bool forgetful_store;
    std::string directory;  // of the LMDB store
    std::function<bool()> over;
  };
  explicit BrokerLives(Parts parts);
  ~BrokerLives();

  // Lives until the run is over.
  void run();
  // Asked for by faults, and done as soon as time goes on.
  void kill() { killed_ = true; }
  void stop() { stopped_ = true; }
  void stall(DurationMs span);

  // After run(): what is in the store, through its own reads, and what the offline check says of it.
  faults::Dump dump(std::vector<faults::Violation>* problems);

  [[nodiscard]] std::uint64_t turns() const { return turns_; }
  [[nodiscard]] std::uint64_t exits() const { return exits_; }
  [[nodiscard]] std::uint64_t idle_turns_max() const { return idle_turns_max_; }

 private:
  void step();
  void pass(DurationMs span);
  void open_store();
  void close_store();
  int live();
  int serve(Server* server, Engine* engine);
  void say_exit(int code);

  Parts parts_;
  Prng prng_;
  MemoryStore memory_, memory_when_opened_;
  std::unique_ptr<Store> lmdb_;
  BrokerTransport* transport_ = nullptr;  // of the life that is lived
  bool killed_ = false, stopped_ = false;
  std::uint64_t lives_ = 0, turns_ = 0, exits_ = 0, idle_turns_max_ = 0;
};

}  // namespace jobq::sim
