// The history of a simulated run (tests/faults/history.hpp) in memory, and its fingerprint: equal for two runs when
// everything that anybody did, said and heard in them was equal, at the same times and in the same order.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/faults/history.hpp"
#include "tests/sim/timeline.hpp"

namespace jobq::sim {

class Chronicle {
 public:
  explicit Chronicle(const Timeline* timeline) : timeline_(timeline) {}

  // Fills in n, and t unless it is set.
  void write(std::string_view proc, faults::Event event);
  // What is not a line of the history and yet must be the same: frames, turns.
  void mix_in(std::uint64_t number);
  void mix_in(std::string_view bytes);

  [[nodiscard]] std::uint64_t fingerprint() const { return fingerprint_; }
  // In the order of time, as a reader would see them: of some events, t is not the time of their writing. Leaves nothing
  // behind.
  std::vector<faults::Event> take_events();

 private:
  const Timeline* timeline_;
  std::vector<faults::Event> events_;
  std::uint64_t fingerprint_ = 0;
};

// Short forms.
faults::Event happened(std::string op, faults::EventType type);

}  // namespace jobq::sim
