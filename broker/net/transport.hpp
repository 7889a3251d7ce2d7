// How the broker's loop hears and speaks, without saying over what: peers by number, frames as bytes, losses as events.
// ZmqTransport is the product; tests and the simulator bring their own.
//
//   transport.wait(span);
//   while (enough_room && transport.next(&event)) handle(event);   // views hold until the next wait(); wait_on() keeps them
//   transport.send(peer, bytes);                                   // false: not handed over, the peer counts as lost
//
// Not thread-safe: the loop is the only caller.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/engine/command.hpp"
#include "libjobq/base/time.hpp"

namespace jobq {

enum class TransportEventKind : std::uint8_t {
  message,  // one frame from a peer
  refused,  // a message that is not a single frame: the peer is to be told; `bytes` is empty
  lost,     // the connection is gone; its number is not used again
};

struct TransportEvent {
  TransportEventKind kind = TransportEventKind::message;
  PeerId peer;
  std::string_view bytes;  // message: holds until the next wait()
};

struct TransportStats {
  std::uint64_t connections = 0;  // now
  std::uint64_t messages_in = 0, messages_out = 0;
  std::uint64_t bytes_in = 0, bytes_out = 0;
  std::uint64_t rejected_messages = 0;  // more than one frame
  std::uint64_t cut_connections = 0;    // ended by us: over the cap, ahead of what was read, not reading
};

class Transport {
 public:
  virtual ~Transport() = default;

  // Waits until there is something to take or one of the watched descriptors is readable, at most `span`; nullopt:
  // for ever. Frames handed out before are invalid afterwards.
  virtual void wait(std::optional<DurationMs> span) = 0;
  // Waits for more to come, at most `span`; what was handed out stays valid. The same as wait() where there is time to
  // wait for, nothing where a test moves the clock.
  virtual void wait_on(DurationMs /*span*/) {}
  // The next event without waiting; false: nothing more for now. One peer's events come in order; peers take turns.
  virtual bool next(TransportEvent* event) = 0;
  // Whether send() would take so many bytes now. To be asked before much is copied; false: as send()'s.
  virtual bool has_room(PeerId /*to*/, std::size_t /*bytes*/) { return true; }
  // Never waits. false: not delivered (the peer is gone, or does not read); the caller treats the peer as lost, and
  // the transport cuts the connection. true does not mean that it has arrived.
  virtual bool send(PeerId to, std::string_view message) = 0;
  // The same for a message that is not needed afterwards: a large one may be taken away instead of being copied, and is
  // empty then.
  virtual bool give(PeerId to, std::string* message) { return send(to, *message); }

  // A further descriptor that ends a wait() when it is readable (signals).
  virtual void watch(int descriptor) = 0;
  // Where peers can connect, with the port that was chosen when it was 0 or '*'.
  [[nodiscard]] virtual std::vector<std::string> endpoints() const = 0;
  [[nodiscard]] virtual TransportStats stats() const = 0;
};

}  // namespace jobq
