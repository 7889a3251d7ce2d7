// The fault "leases lapse": heartbeats reach the broker without the extensions in them, and their replies say that all were
// granted. The worker goes on in good faith until the broker tells it that the job is not its own any more.
//
// Not thread-safe: the world's thread only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "broker/engine/command.hpp"

namespace jobq::testing {

class LapseFilter {
 public:
  void switch_on(bool on) { on_ = on; }
  // What the broker gets instead of this frame.
  std::string to_broker(PeerId from, std::string frame);
  // What the peer gets instead of this frame.
  std::string to_peer(PeerId to, std::string frame);

 private:
  bool on_ = false;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::size_t> held_back_;  // (peer, request) -> extensions
};

}  // namespace jobq::testing
