// The broker's ROUTER socket: the only file of the broker that knows ZeroMQ. What the traps are and why each option is
// set stands next to the option in the source.
//
// A peer is one connection. Its end is known from the socket's monitor, by descriptor: every message names the
// descriptor it came by. What a lost peer had sent before is handed out first, then its end.
//
// Not thread-safe (ZeroMQ sockets are not): opened, used and destroyed by the loop's thread. Destruction waits at most
// `linger` for what was sent to leave.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "broker/net/guard.hpp"
#include "broker/net/transport.hpp"
#include "jobq/status.hpp"

namespace jobq {

struct ZmqOptions {
  std::vector<std::string> listen;  // tcp://HOST:PORT (0 or *: a free one) or ipc://PATH
  std::size_t message_bytes_max = limits::kMessageBytesDefault;
  std::uint32_t connections_max = 10'000;
  std::int32_t handshake_ms = 3'000;  // a connection that has not greeted by then is closed
  std::int32_t linger_ms = 500;
  GuardLimits guard;
};

class ZmqTransport final : public Transport {
 public:
  // bad_endpoint: the text names the endpoint and what to do (in use, not permitted, not an address).
  static Result<std::unique_ptr<ZmqTransport>> open(const ZmqOptions& options);
  ~ZmqTransport() override;

  void wait(std::optional<DurationMs> span) override;
  void wait_on(DurationMs span) override { poll(span); }
  bool next(TransportEvent* event) override;
  bool has_room(PeerId to, std::size_t bytes) override { return receiver(to, bytes) != nullptr; }
  bool send(PeerId to, std::string_view message) override;
  bool give(PeerId to, std::string* message) override;
  void watch(int descriptor) override { watched_.push_back(descriptor); }
  [[nodiscard]] std::vector<std::string> endpoints() const override { return endpoints_; }
  [[nodiscard]] TransportStats stats() const override;

 private:
  struct Wire;  // context, sockets and messages: what is ZeroMQ's
  struct Peer {
    std::string routing_id;
    int descriptor = -1;
    bool connected = true;
    std::shared_ptr<Guard::Account> account;
  };
  struct Connection {
    std::shared_ptr<Guard::Account> account;
    PeerId peer;  // unset until its first message
  };
  struct Leaving {
    PeerId peer;
    std::chrono::steady_clock::time_point since;
  };
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  explicit ZmqTransport(const ZmqOptions& options);
  Status bind(const std::string& endpoint);
  bool receive(TransportEvent* event);
  PeerId peer_of(std::string_view routing_id, int descriptor);
  void poll(std::optional<DurationMs> span);
  void drain_monitor();
  void accepted(int descriptor);
  void disconnected(int descriptor);
  bool announce_lost(TransportEvent* event, bool all);
  void forget(PeerId peer);
  void cut(Peer* peer);
  Peer* receiver(PeerId to, std::size_t bytes);
  bool address(Peer* peer);
  bool handed_over(Peer* peer, int result, std::size_t bytes);

  ZmqOptions options_;
  std::unique_ptr<Wire> wire_;
  Guard guard_;
  std::vector<std::string> endpoints_;
  std::vector<int> watched_;
  std::uint64_t next_peer_ = 1;
  std::unordered_map<std::uint64_t, Peer> peers_;
  std::unordered_map<std::string, PeerId, TextHash, std::equal_to<>> by_routing_id_;
  std::unordered_map<int, Connection> connections_;
  std::deque<Leaving> leaving_;
  TransportStats stats_;
};

}  // namespace jobq
