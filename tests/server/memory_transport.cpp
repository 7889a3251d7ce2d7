#include "tests/server/memory_transport.hpp"

namespace jobq {

// The promise of Transport: frames hold until the next wait(). Overwriting them finds who keeps one longer.
void MemoryTransport::wait(std::optional<DurationMs> span) {
  for (Incoming& taken : taken_) taken.bytes.assign(taken.bytes.size(), '\xEE');
  taken_.clear();
  last_wait_ = span;
}

void MemoryTransport::wait_on(DurationMs /*span*/) {
  ++waits_on_;
  for (Incoming& later : later_) incoming_.push_back(std::move(later));
  later_.clear();
}

bool MemoryTransport::next(TransportEvent* event) {
  if (incoming_.empty()) return false;
  taken_.push_back(std::move(incoming_.front()));
  incoming_.pop_front();
  *event = {taken_.back().kind, taken_.back().peer, taken_.back().bytes};
  return true;
}

bool MemoryTransport::send(PeerId to, std::string_view message) {
  if (broken_.contains(to.value)) return false;
  sent_[to.value].emplace_back(message);
  return true;
}

}  // namespace jobq
