#include "testing/wire.hpp"

#include "libjobq/link.hpp"
#include "libjobq/protocol/codec.hpp"

namespace jobq::testing {
namespace {

bool is_commit(std::string_view frame) {
  std::uint64_t request_id = 0;
  const auto request = protocol::decode_request(frame, {limits::kMessageBytesMax}, &request_id);
  return request.ok() && (std::holds_alternative<protocol::Enqueue>(request->body) ||
                          std::holds_alternative<protocol::Outcomes>(request->body));
}

}  // namespace

PeerId Wire::connect(bool prompt) {
  const PeerId peer{next_peer_++};
  lines_[peer.value].prompt = prompt;
  return peer;
}

void Wire::cut(PeerId peer) {
  if (lines_.erase(peer.value) > 0) lost_.push_back(peer);
}

void Wire::cut_all() {
  for (const auto& [number, line] : lines_) lost_.push_back(PeerId{number});
  lines_.clear();
}

void Wire::to_broker(PeerId from, std::string frame) {
  const auto line = lines_.find(from.value);
  if (line != lines_.end()) line->second.to_broker.push_back({arrival(line->second), std::move(frame)});
}

bool Wire::has_arrived_at(PeerId peer) const {
  const auto line = lines_.find(peer.value);
  return line != lines_.end() && !line->second.to_peer.empty() && line->second.to_peer.front().at <= *now_;
}

bool Wire::receive(PeerId peer, std::string* frame) {
  if (!has_arrived_at(peer)) return false;
  auto& waiting = lines_.at(peer.value).to_peer;
  *frame = std::move(waiting.front().bytes);
  waiting.pop_front();
  return true;
}

bool Wire::has_arrived_at_broker() const {
  if (!lost_.empty()) return true;
  for (const auto& [number, line] : lines_) {
    if (!line.to_broker.empty() && line.to_broker.front().at <= *now_) return true;
  }
  return false;
}

std::optional<TimeMs> Wire::next_arrival() const {
  std::optional<TimeMs> next;
  for (const auto& [number, line] : lines_) {
    if (!line.to_broker.empty()) next = earlier(next, line.to_broker.front().at);
    if (!line.to_peer.empty()) next = earlier(next, line.to_peer.front().at);
  }
  return next;
}

void Wire::reset() {
  lost_.clear();
  taken_.clear();
  armed_ = silent_ = took_ = false;
  last_wait_ = {};
}

void Wire::wait(std::optional<DurationMs> span) {
  taken_.clear();
  took_ = false;
  last_wait_ = span.value_or(DurationMs{0});
}

bool Wire::next(TransportEvent* event) {
  if (!lost_.empty()) {
    *event = {TransportEventKind::lost, lost_.front(), {}};
    lost_.pop_front();
    took_ = true;
    return true;
  }
  auto line = lines_.upper_bound(last_served_);
  for (std::size_t seen = 0; seen < lines_.size(); ++seen, ++line) {
    if (line == lines_.end()) line = lines_.begin();
    auto& waiting = line->second.to_broker;
    if (waiting.empty() || waiting.front().at > *now_) continue;
    taken_.push_back(std::move(waiting.front().bytes));
    waiting.pop_front();
    last_served_ = line->first;
    took_ = true;
    if (armed_ && is_commit(taken_.back())) silent_ = true;
    *event = {TransportEventKind::message, PeerId{line->first}, taken_.back()};
    return true;
  }
  return false;
}

bool Wire::send(PeerId to, std::string_view message) {
  if (silent_) return true;
  const auto line = lines_.find(to.value);
  if (line == lines_.end()) return false;
  line->second.to_peer.push_back({arrival(line->second), std::string(message)});
  return true;
}

TransportStats Wire::stats() const {
  TransportStats stats;
  stats.connections = lines_.size();
  return stats;
}

}  // namespace jobq::testing
