// A simulated process of a producer, a worker or an operator: drives a state machine of the library as its I/O thread does
// (libjobq/io_thread.cpp), over a socket of the simulated network, in virtual time, with a clock of its own that began some
// other day. It can be frozen and thawed, and it can be killed (destroyed).
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "libjobq/base/prng.hpp"
#include "libjobq/link.hpp"
#include "tests/sim/chronicle.hpp"
#include "tests/sim/network.hpp"
#include "tests/sim/timeline.hpp"

namespace jobq::sim {

// What every member of the cast stands on.
struct Stage {
  Timeline* timeline;
  Network* network;
  Chronicle* chronicle;
  const FaultMix* mix;
  const bool* healed;
};

class Process : public Network::Listener {
 public:
  Process(const Stage& stage, std::string name, Prng prng);
  ~Process() override;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void start();
  void woken() override { wake_at(stage_.timeline->now()); }
  void broken() override;
  void stalled(DurationMs span) override;
  // hung: only its own thread stands still; otherwise its machine does, and the kernel answers for it no more.
  void freeze(DurationMs span, bool hung);
  void thaw();
  [[nodiscard]] bool frozen() const { return frozen_until_ > stage_.timeline->now(); }
  [[nodiscard]] const std::string& name() const { return name_; }
  // Has nothing more to do, and may be taken away.
  [[nodiscard]] virtual bool finished() const { return false; }

 protected:
  virtual PeerCore& core() = 0;
  // Around each turn of the core, at the process's own time.
  virtual void before_turn(TimeMs now) = 0;
  virtual void after_turn(TimeMs now) = 0;
  // When it wants to have a turn for reasons of its own; in the time of the world.
  [[nodiscard]] virtual TimeMs wants_turn_at() const = 0;

  [[nodiscard]] TimeMs local(TimeMs world) const { return world + DurationMs{clock_ahead_ms_}; }
  [[nodiscard]] TimeMs world(TimeMs local) const { return local + DurationMs{-clock_ahead_ms_}; }
  // When the frame that is being read arrived, which may be before the process could read it.
  [[nodiscard]] TimeMs frame_arrived() const { return frame_arrived_; }
  void write(faults::Event event) { stage_.chronicle->write(name_, std::move(event)); }

  Stage stage_;
  Prng prng_;

 private:
  void wake_at(TimeMs time);
  void turn();
  void read(TimeMs now);
  void lost(TimeMs now);

  const std::string name_;
  const std::int64_t clock_ahead_ms_;
  // Wake-ups that were planned for a process that is gone must not reach it.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::uint64_t socket_ = 0;  // 0: none
  bool up_ = false, was_greeted_ = false;
  TimeMs reopen_at_{};
  std::int64_t reopen_ms_ = 0;
  TimeMs planned_ = kNever;
  std::uint64_t plan_ = 0;
  TimeMs frozen_until_{};
  TimeMs frame_arrived_{};
};

}  // namespace jobq::sim
