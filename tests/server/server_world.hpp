// A whole broker without sockets, disk and real time: the server's loop over the engine, a memory store that can fail and
// a memory transport, with clocks that the test turns.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "broker/server/server.hpp"
#include "broker/store/memory_store.hpp"
#include "tests/server/memory_transport.hpp"
#include "tests/store/faulty_store.hpp"

namespace jobq {

class ServerWorld {
 public:
  explicit ServerWorld(const Config& config = {});

  // Encodes and sends; request ids count up.
  std::uint64_t send(PeerId peer, protocol::Request request);
  void greet(PeerId peer) { send(peer, protocol::Hello{}); }
  Status turn() { return server->turn(DurationMs{0}); }
  // Turns until nothing is left to do now; fails the test when a turn fails.
  void settle();
  void advance(DurationMs span) {
    steady_ms += span.ms;
    wall_ms += span.ms;
  }
  // Everything sent to the peer since the last call, decoded. Views hold until the next call for the same peer.
  std::vector<protocol::ReplyMessage> received(PeerId peer);
  // The document that an operator is answered with, or {"error", "text"}. Drops what came before.
  nlohmann::json ask(PeerId peer, std::string_view verb, std::vector<protocol::Param> params = {});
  // The only message of this type that the peer got since the last call; fails the test otherwise.
  template <typename T>
  T only(PeerId peer) {
    std::vector<T> found;
    for (auto& message : received(peer)) {
      if (auto* body = std::get_if<T>(&message.body)) found.push_back(std::move(*body));
    }
    if (found.size() != 1) throw std::runtime_error("not one message but " + std::to_string(found.size()));
    return found.front();
  }

  std::int64_t wall_ms = 1'700'000'000'000, steady_ms = 5'000;
  MemoryStore memory;
  FaultyStore store{&memory};
  MemoryTransport transport;
  std::unique_ptr<ServerClock> clock;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Server> server;

 private:
  std::uint64_t next_request_ = 1;
  std::map<std::uint64_t, std::vector<std::string>> frames_;
};

protocol::Enqueue enqueue_one(std::string_view queue, std::string_view body,
                              std::string_view unique_key = {});
protocol::Register worker_of(std::string_view queue, std::uint32_t credit);

}  // namespace jobq
