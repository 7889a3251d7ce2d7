// The broker of the test: the real loop and engine over a store in memory, which stays when it is killed.
//
// Not thread-safe: the world's thread only. Our own bug ends the process (JOBQ_CHECK): nothing here can fail otherwise.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "broker/server/server.hpp"
#include "broker/store/memory_store.hpp"
#include "testing/wire.hpp"

namespace jobq::testing {

class InnerBroker {
 public:
  // now: of the world; wall_at_zero: the wall clock when it was 0.
  InnerBroker(Wire* wire, const TimeMs* now, std::int64_t wall_at_zero, std::uint64_t seed);

  void start();
  void crash();
  [[nodiscard]] bool running() const { return server_ != nullptr; }
  // Carries out what has arrived and what is due.
  void turn();
  // When it has something to do, if nothing arrives; REQUIRES: running.
  [[nodiscard]] TimeMs deadline() const { return deadline_; }

  void refuse_enqueues(bool on);
  // Asks like `jobq` does: the document as msgpack, or the refusal.
  Result<std::string> ask(std::string_view verb, const std::vector<protocol::Param>& params);

 private:
  [[nodiscard]] std::uint64_t send(protocol::Request request);
  Result<std::string> answer_to(std::uint64_t request_id);

  Wire* wire_;
  const TimeMs* now_;
  const std::int64_t wall_at_zero_;
  std::uint64_t seed_;
  Config config_;
  MemoryStore store_;
  std::unique_ptr<ServerClock> clock_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Server> server_;
  TimeMs deadline_{};
  PeerId desk_{};  // the connection of ask()
  std::uint64_t next_request_ = 1;
};

}  // namespace jobq::testing
