// A transport in memory: what peers send is put in, what they are sent can be looked at, connections can break and sends
// fail. wait() never waits. Not thread-safe.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

#include "broker/net/transport.hpp"

namespace jobq {

class MemoryTransport final : public Transport {
 public:
  void put(PeerId from, std::string frame) {
    incoming_.push_back({TransportEventKind::message, from, std::move(frame)});
  }
  void put_refused(PeerId from) { incoming_.push_back({TransportEventKind::refused, from, {}}); }
  void lose(PeerId peer) { incoming_.push_back({TransportEventKind::lost, peer, {}}); }
  // Sends to it fail from now on.
  void break_sends_to(PeerId peer) { broken_.insert(peer.value); }
  // It has no room for a large message from now on.
  void fill(PeerId peer) { full_.insert(peer.value); }
  // What was sent to the peer since the last call.
  std::vector<std::string> take_sent(PeerId to) { return std::exchange(sent_[to.value], {}); }
  [[nodiscard]] std::size_t waiting() const { return incoming_.size(); }
  // The frame comes when the loop waits for more.
  void put_later(PeerId from, std::string frame) {
    later_.push_back({TransportEventKind::message, from, std::move(frame)});
  }
  [[nodiscard]] std::optional<DurationMs> last_wait() const { return last_wait_; }
  // How often it has waited for more.
  [[nodiscard]] std::size_t waits_on() const { return waits_on_; }

  void wait(std::optional<DurationMs> span) override;
  void wait_on(DurationMs span) override;
  bool next(TransportEvent* event) override;
  bool has_room(PeerId to, std::size_t /*bytes*/) override { return !full_.contains(to.value); }
  bool send(PeerId to, std::string_view message) override;
  void watch(int) override {}
  [[nodiscard]] std::vector<std::string> endpoints() const override { return {"memory"}; }
  [[nodiscard]] TransportStats stats() const override { return {}; }

 private:
  struct Incoming {
    TransportEventKind kind;
    PeerId peer;
    std::string bytes;
  };
  std::deque<Incoming> incoming_, later_, taken_;
  std::size_t waits_on_ = 0;
  std::map<std::uint64_t, std::vector<std::string>> sent_;
  std::unordered_set<std::uint64_t> broken_, full_;
  std::optional<DurationMs> last_wait_;
};

}  // namespace jobq
