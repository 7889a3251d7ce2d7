// The broker's end of the simulated network: a Transport whose wait() lets the world go on until something arrives. So the
// broker's own loop drives the simulation, and can be killed wherever it waits, commits or sends.
//
// Throws BrokerKilled. Frames are overwritten at the next wait(), so that one who keeps a view longer is found out.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "broker/net/transport.hpp"
#include "libjobq/protocol/message.hpp"
#include "tests/sim/chronicle.hpp"
#include "tests/sim/fault_mix.hpp"
#include "tests/sim/network.hpp"
#include "tests/sim/watched_store.hpp"

namespace jobq::sim {

class BrokerTransport final : public Transport {
 public:
  struct Parts {
    Network* network;
    Timeline* timeline;
    Chronicle* chronicle;
    const FaultMix* mix;
    StoreFaults* faults;
    Prng* prng;
    std::function<void()> step;  // lets the next thing happen; throws BrokerKilled
  };
  explicit BrokerTransport(Parts parts) : parts_(std::move(parts)) {}

  void wait(std::optional<DurationMs> span) override;
  void wait_on(DurationMs span) override;
  bool next(TransportEvent* event) override;
  bool send(PeerId to, std::string_view message) override;
  void watch(int) override {}
  [[nodiscard]] std::vector<std::string> endpoints() const override { return {"sim"}; }
  [[nodiscard]] TransportStats stats() const override { return {}; }

  // Stands still until then: nothing is read, and time goes on.
  void stall(TimeMs until) { stalled_until_ = until; }
  // Turns in a row in which nothing arrived although the broker had said that it would wait: a busy loop.
  [[nodiscard]] std::uint64_t idle_turns_max() const { return idle_turns_max_; }

 private:
  void mix_in(std::string_view message, const protocol::ReplyMessage& decoded);
  void note_outcomes(const Network::Incoming& incoming);
  void say(PeerId to, const protocol::ReplyMessage& message);
  void pass_until(TimeMs time);

  Parts parts_;
  std::deque<Network::Incoming> taken_;
  // Outcomes that were asked about and not answered, by peer and request.
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::vector<protocol::LeaseRef>> asked_;
  TimeMs stalled_until_{}, last_turn_{};
  std::uint64_t turns_now_ = 0, idle_turns_ = 0, idle_turns_max_ = 0;
};

}  // namespace jobq::sim
