// The engine, a memory store and virtual time, run the way the server's loop runs them: apply, tick, submit,
// then messages and reads. Everything that leaves the engine is kept as readable lines.
//
// Peers have names ("w1", "p"). After every turn the engine's invariants are walked. Not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/engine/engine.hpp"
#include "broker/store/memory_store.hpp"

namespace jobq::testing {

class World {
 public:
  World();
  ~World();

  // Carries out one command of a peer in turns until nothing is left to do now, and returns what came out.
  std::vector<std::string> send(std::string_view peer, CommandBody body);
  // Carries out several in one turn, each from the peer that is named with it.
  std::vector<std::string> send_together(std::vector<std::pair<std::string, CommandBody>> commands);
  // Lets time pass, turn by turn at the engine's deadlines.
  std::vector<std::string> advance(DurationMs span);
  // The wall clock jumps, the monotonic one does not.
  std::vector<std::string> jump_wall(DurationMs by);
  // As after kill -9 and a new start, the process having been away for `down`.
  std::vector<std::string> restart(DurationMs down);

  Engine& engine() { return *engine_; }
  Store& store() { return *store_; }
  [[nodiscard]] const Now& now() const { return now_; }
  [[nodiscard]] std::uint64_t turns() const { return turns_; }  // since the world began
  EngineLimits& limits() { return limits_; }

  struct PeerSession {
    SessionNo number;
    protocol::Secret secret{};
  };
  // What the peer was last told when it registered.
  [[nodiscard]] const PeerSession* session(std::string_view peer) const;

  [[nodiscard]] std::string text(const Message& message);

 private:
  void start();
  void turn(std::vector<Command> commands);
  void answer(const std::vector<Read>& reads);
  void settle();
  PeerId peer_id(std::string_view name);
  std::string peer_name(PeerId peer);

  EngineLimits limits_;
  Now now_{};
  std::unique_ptr<MemoryStore> store_;
  std::unique_ptr<Engine> engine_;
  std::deque<Command> pending_;
  std::vector<std::string> lines_;
  std::map<std::string, PeerId, std::less<>> peers_;
  std::map<std::string, PeerSession, std::less<>> sessions_;
  std::uint64_t next_peer_ = 1;
  std::uint64_t next_request_ = 1;
  std::uint64_t turns_ = 0;
};

}  // namespace jobq::testing
