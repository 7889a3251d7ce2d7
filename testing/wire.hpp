// The connections of the in-process broker: what peers send waits here for the broker, and the other way round. As a
// Transport it is what the broker's loop hears and speaks with.
//
// Not thread-safe: the world's thread only. Time: the virtual milliseconds of the world.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "broker/net/transport.hpp"
#include "libjobq/base/time.hpp"

namespace jobq::testing {

class Wire final : public Transport {
 public:
  explicit Wire(const TimeMs* now) : now_(now) {}

  // ---- the peers' side
  PeerId connect(bool prompt = false);  // prompt: delay() does not hold for it
  void cut(PeerId peer);                // the peer goes: the broker hears of it
  void cut_all();                       // the broker goes, or the network: peers see is_up() false
  [[nodiscard]] bool is_up(PeerId peer) const { return lines_.contains(peer.value); }
  void to_broker(PeerId from, std::string frame);
  // The next frame that has arrived at the peer.
  bool receive(PeerId peer, std::string* frame);
  [[nodiscard]] bool has_arrived_at(PeerId peer) const;

  // ---- the world's side
  [[nodiscard]] bool has_arrived_at_broker() const;
  [[nodiscard]] std::optional<TimeMs> next_arrival() const;
  void delay(DurationMs each_way) { delay_ = each_way; }
  // Lets nothing out any more from the turn on that takes an enqueue or an outcome.
  void fall_silent_after_next_commit(bool on) { armed_ = on; }
  [[nodiscard]] bool fell_silent() const { return silent_; }
  void reset();  // for a broker that starts
  // How long the broker would have slept in its last turn, and whether it took anything in it.
  [[nodiscard]] DurationMs last_wait() const { return last_wait_; }
  [[nodiscard]] bool took_something() const { return took_; }

  // ---- Transport
  void wait(std::optional<DurationMs> span) override;
  bool next(TransportEvent* event) override;
  bool send(PeerId to, std::string_view message) override;
  void watch(int /*descriptor*/) override {}
  [[nodiscard]] std::vector<std::string> endpoints() const override { return {"in-process"}; }
  [[nodiscard]] TransportStats stats() const override;

 private:
  struct Frame {
    TimeMs at;
    std::string bytes;
  };
  struct Line {
    bool prompt = false;
    std::deque<Frame> to_broker, to_peer;
  };

  [[nodiscard]] TimeMs arrival(const Line& line) const {
    return *now_ + (line.prompt ? DurationMs{} : delay_);
  }

  const TimeMs* now_;
  DurationMs delay_{};
  std::map<std::uint64_t, Line> lines_;
  std::deque<PeerId> lost_;  // to be told to the broker
  std::deque<std::string> taken_;
  std::uint64_t next_peer_ = 1;
  std::uint64_t last_served_ = 0;  // peers take turns
  bool armed_ = false, silent_ = false, took_ = false;
  DurationMs last_wait_{};
};

}  // namespace jobq::testing
