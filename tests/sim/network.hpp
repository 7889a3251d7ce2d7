// A network with ZeroMQ's manners, in virtual time: messages of a connection arrive in order or are lost together with
// its end, never twice; a send that succeeds says nothing; what a killed process had not read is gone; a client that does
// not read is cut off; a dead link is noticed late and by each side at a time of its own.
//
// The broker's side is a Transport (broker_transport.hpp); a client's side is what libjobq/channel.hpp offers to the
// library's I/O thread. Not thread-safe. Does not own the listeners, which close their sockets before they go.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/net/transport.hpp"
#include "libjobq/base/prng.hpp"
#include "tests/sim/fault_mix.hpp"
#include "tests/sim/timeline.hpp"

namespace jobq::sim {

class Network {
 public:
  // Whoever has opened a socket: something has happened to it.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void woken() = 0;
    // Its connection breaks now, or stands still for a while. It does not know yet; the run's history has to.
    virtual void broken() = 0;
    virtual void stalled(DurationMs span) = 0;
  };
  enum class Event : std::uint8_t { connected, disconnected };
  struct Frame {
    std::string bytes;
    TimeMs arrived;  // in this process, read or not
  };
  struct Counts {
    std::uint64_t connections = 0, frames = 0, lost_frames = 0, cuts = 0;
  };

  Network(Timeline* timeline, const FaultMix* mix, Prng prng) : timeline_(timeline), mix_(mix), prng_(prng) {}

  // ---- clients ----
  // One connection; tried again and again until there is somebody to connect to.
  std::uint64_t open(Listener* listener);
  // What is on its way may still arrive.
  void close(std::uint64_t socket);
  void send(std::uint64_t socket, std::string frame);
  std::optional<Frame> receive(std::uint64_t socket);
  std::optional<Event> take_event(std::uint64_t socket);

  // ---- the broker ----
  void broker_up() { broker_up_ = true; }
  void broker_down();
  [[nodiscard]] bool has_incoming() const { return !incoming_.empty(); }
  struct Incoming {
    TransportEventKind kind;
    PeerId peer;
    std::string bytes;
  };
  std::optional<Incoming> next_incoming();
  bool send_to(PeerId peer, std::string_view frame);
  [[nodiscard]] std::uint64_t connections() const { return by_number_.size(); }

  // ---- faults ----
  void cut_one();
  void darken_one();
  // Nobody reaches the broker for a while.
  void outage(DurationMs span);
  // The machine stands still with its kernel, which answers for the process otherwise.
  void stop_answering(std::uint64_t socket, DurationMs span);
  // From now on everything arrives, quickly.
  void heal();
  [[nodiscard]] const Counts& counts() const { return counts_; }

 private:
  struct Connection {
    Listener* listener = nullptr;               // nullptr: the client has closed it
    bool up = false;                            // made
    bool ended = false;                         // broken: what is sent goes nowhere
    bool known = false;                         // the broker has heard of it and not yet of its end
    TimeMs last_to_broker{}, last_to_client{};  // when the newest on its way arrives
    TimeMs to_broker_ends = kNever, to_client_ends = kNever;  // what arrives later is lost
    std::uint64_t unread = 0;                                 // frames sent to the client and not read by it
    std::deque<Frame> inbox;
    std::deque<Event> events;
  };
  using Connections = std::map<std::uint64_t, Connection>;

  void try_connect(std::uint64_t number);
  Connection* find(std::uint64_t number);
  TimeMs arrival(Connection* connection, TimeMs* newest);
  void arrive_at_broker(std::uint64_t number, std::string frame);
  void arrive_at_client(std::uint64_t number, std::string frame);
  // Breaks it now. Each side hears of it after its span; what is on its way is lost from some point on.
  void end(std::uint64_t number, DurationMs broker_hears, DurationMs client_hears);
  void broker_hears_end(std::uint64_t number);
  void client_hears_end(std::uint64_t number);
  void forget_if_done(std::uint64_t number);
  std::optional<std::uint64_t> pick();

  Timeline* timeline_;
  const FaultMix* mix_;
  Prng prng_;
  bool broker_up_ = false, healed_ = false;
  TimeMs outage_until_{};
  std::uint64_t next_number_ = 1;
  Connections by_number_;
  std::deque<Incoming> incoming_;
  Counts counts_;
};

}  // namespace jobq::sim
