#include "tests/sim/chronicle.hpp"

#include <algorithm>
#include <utility>

#include "libjobq/base/hash.hpp"

namespace jobq::sim {

void Chronicle::mix_in(std::uint64_t number) {
  fingerprint_ = (fingerprint_ ^ number) * 0x9E3779B97F4A7C15ULL;
  fingerprint_ ^= fingerprint_ >> 29;
}

void Chronicle::mix_in(std::string_view bytes) { mix_in(hash64(bytes, fingerprint_)); }

void Chronicle::write(std::string_view proc, faults::Event event) {
  event.n = events_.size() + 1;
  event.proc = proc;
  if (event.t == 0) event.t = timeline_->now().ms;
  mix_in(static_cast<std::uint64_t>(event.t));
  mix_in(event.proc);
  mix_in(event.op);
  mix_in(static_cast<std::uint64_t>(event.type));
  mix_in(event.seq);
  mix_in(event.job);
  mix_in(event.token);
  mix_in(event.state);
  mix_in(event.err);
  mix_in(event.session);
  events_.push_back(std::move(event));
}

// By pointer: an event is ten strings, and there are a hundred thousand of them.
std::vector<faults::Event> Chronicle::take_events() {
  std::vector<faults::Event*> order;
  order.reserve(events_.size());
  for (faults::Event& event : events_) order.push_back(&event);
  std::stable_sort(order.begin(), order.end(),
                   [](const faults::Event* a, const faults::Event* b) { return a->t < b->t; });
  std::vector<faults::Event> sorted;
  sorted.reserve(order.size());
  for (faults::Event* event : order) sorted.push_back(std::move(*event));
  events_.clear();
  return sorted;
}

faults::Event happened(std::string op, faults::EventType type) {
  faults::Event event;
  event.op = std::move(op);
  event.type = type;
  return event;
}

}  // namespace jobq::sim
