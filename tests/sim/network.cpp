#include "tests/sim/network.hpp"

#include <algorithm>
#include <utility>

namespace jobq::sim {
namespace {

constexpr DurationMs kConnectEvery{100};
// When a peer that vanished is noticed (libjobq/base/tcp_liveness.hpp).
constexpr std::int64_t kNoticedAfterMs = 1'500, kNoticedAtLatestMs = 4'000;

}  // namespace

Network::Connection* Network::find(std::uint64_t number) {
  const auto found = by_number_.find(number);
  return found == by_number_.end() ? nullptr : &found->second;
}

std::uint64_t Network::open(Listener* listener) {
  const std::uint64_t number = next_number_++;
  by_number_[number].listener = listener;
  timeline_->after(DurationMs{prng_.between(0, mix_->delay_ms)}, [this, number] { try_connect(number); });
  return number;
}

void Network::try_connect(std::uint64_t number) {
  Connection* connection = find(number);
  if (connection == nullptr || connection->ended) return;
  if (!broker_up_ || timeline_->now() < outage_until_) {
    timeline_->after(kConnectEvery, [this, number] { try_connect(number); });
    return;
  }
  ++counts_.connections;
  connection->up = true;
  connection->events.push_back(Event::connected);
  connection->listener->woken();
}

// In order; now and then the link stands still for a while.
TimeMs Network::arrival(Connection* connection, TimeMs* newest) {
  std::int64_t takes = healed_ ? prng_.between(0, 1) : prng_.between(0, mix_->delay_ms);
  if (!healed_ && mix_->stall_ms > 0 && prng_.below(200) == 0) {
    const DurationMs stall{prng_.between(1, mix_->stall_ms)};
    if (connection->listener != nullptr) connection->listener->stalled(stall);
    takes += stall.ms;
  }
  *newest = std::max(*newest, timeline_->now() + DurationMs{takes});
  return *newest;
}

void Network::send(std::uint64_t socket, std::string frame) {
  Connection* connection = find(socket);
  ++counts_.frames;
  if (connection == nullptr || connection->ended || !connection->up) {
    ++counts_.lost_frames;
    return;
  }
  timeline_->at(
      arrival(connection, &connection->last_to_broker),
      [this, socket, bytes = std::move(frame)]() mutable { arrive_at_broker(socket, std::move(bytes)); });
}

void Network::arrive_at_broker(std::uint64_t number, std::string frame) {
  Connection* connection = find(number);
  if (connection == nullptr || !broker_up_ || timeline_->now() > connection->to_broker_ends) {
    ++counts_.lost_frames;
    return;
  }
  connection->known = true;
  incoming_.push_back({TransportEventKind::message, PeerId{number}, std::move(frame)});
}

bool Network::send_to(PeerId peer, std::string_view frame) {
  Connection* connection = find(peer.value);
  if (connection == nullptr || !connection->known) return false;
  if (!connection->ended && connection->unread >= mix_->reads_max && !healed_) {
    end(peer.value, {0}, {prng_.between(0, mix_->delay_ms)});
    return false;
  }
  ++counts_.frames;
  if (connection->ended) {  // not noticed yet: it is accepted, and vanishes
    ++counts_.lost_frames;
    return true;
  }
  ++connection->unread;
  timeline_->at(arrival(connection, &connection->last_to_client),
                [this, number = peer.value, bytes = std::string(frame)]() mutable {
                  arrive_at_client(number, std::move(bytes));
                });
  return true;
}

void Network::arrive_at_client(std::uint64_t number, std::string frame) {
  Connection* connection = find(number);
  if (connection == nullptr || connection->listener == nullptr ||
      timeline_->now() > connection->to_client_ends) {
    ++counts_.lost_frames;
    return;
  }
  connection->inbox.push_back({std::move(frame), timeline_->now()});
  connection->listener->woken();
}

std::optional<Network::Frame> Network::receive(std::uint64_t socket) {
  Connection* connection = find(socket);
  if (connection == nullptr || connection->inbox.empty()) return std::nullopt;
  Frame frame = std::move(connection->inbox.front());
  connection->inbox.pop_front();
  if (connection->unread > 0) --connection->unread;
  return frame;
}

std::optional<Network::Event> Network::take_event(std::uint64_t socket) {
  Connection* connection = find(socket);
  if (connection == nullptr || connection->events.empty()) return std::nullopt;
  const Event event = connection->events.front();
  connection->events.pop_front();
  return event;
}

void Network::close(std::uint64_t socket) {
  Connection* connection = find(socket);
  if (connection == nullptr) return;
  connection->listener = nullptr;
  connection->inbox.clear();
  if (!connection->ended) end(socket, {prng_.between(0, mix_->delay_ms)}, {0});
  forget_if_done(socket);
}

void Network::end(std::uint64_t number, DurationMs broker_hears, DurationMs client_hears) {
  Connection* connection = find(number);
  if (connection == nullptr || connection->ended) return;
  connection->ended = true;
  ++counts_.cuts;
  if (connection->listener != nullptr) connection->listener->broken();
  const TimeMs now = timeline_->now();
  const auto until = [&](TimeMs newest) { return TimeMs{prng_.between(now.ms, std::max(now, newest).ms)}; };
  connection->to_broker_ends = until(connection->last_to_broker);
  connection->to_client_ends = until(connection->last_to_client);
  timeline_->at(std::max(now + broker_hears, connection->to_broker_ends),
                [this, number] { broker_hears_end(number); });
  timeline_->at(std::max(now + client_hears, connection->to_client_ends),
                [this, number] { client_hears_end(number); });
}

void Network::broker_hears_end(std::uint64_t number) {
  Connection* connection = find(number);
  if (connection == nullptr) return;
  connection->to_broker_ends = TimeMs{0};
  if (std::exchange(connection->known, false) && broker_up_)
    incoming_.push_back({TransportEventKind::lost, PeerId{number}, {}});
  forget_if_done(number);
}

void Network::client_hears_end(std::uint64_t number) {
  Connection* connection = find(number);
  if (connection == nullptr) return;
  connection->to_client_ends = TimeMs{0};
  if (connection->listener != nullptr) {
    connection->events.push_back(Event::disconnected);
    connection->listener->woken();
  }
  forget_if_done(number);
}

void Network::forget_if_done(std::uint64_t number) {
  const Connection* connection = find(number);
  const bool heard = connection->to_broker_ends.ms == 0 && connection->to_client_ends.ms == 0;
  if (connection->ended && heard && connection->listener == nullptr) by_number_.erase(number);
}

std::optional<Network::Incoming> Network::next_incoming() {
  if (incoming_.empty()) return std::nullopt;
  Incoming incoming = std::move(incoming_.front());
  incoming_.pop_front();
  return incoming;
}

// Nothing that it had not read is seen again; the clients hear of it from their machines, at once or a little later.
void Network::broker_down() {
  broker_up_ = false;
  counts_.lost_frames += incoming_.size();
  incoming_.clear();
  std::vector<std::uint64_t> made;
  for (auto& [number, connection] : by_number_) {
    connection.known = false;
    if (connection.up && !connection.ended) made.push_back(number);
  }
  for (const std::uint64_t number : made) end(number, {0}, {prng_.between(0, 20)});
  // What is still on its way reaches nobody, the next process neither.
  for (auto& [number, connection] : by_number_) connection.to_broker_ends = {};
}

std::optional<std::uint64_t> Network::pick() {
  std::vector<std::uint64_t> candidates;
  for (const auto& [number, connection] : by_number_)
    if (connection.up && !connection.ended) candidates.push_back(number);
  if (candidates.empty()) return std::nullopt;
  return candidates[prng_.below(candidates.size())];
}

void Network::cut_one() {
  if (const auto number = pick()) {
    const DurationMs second{prng_.between(0, 50)}, first{prng_.between(0, 50)};
    end(*number, first, second);
  }
}

void Network::darken_one() {
  if (const auto number = pick()) {
    const DurationMs second{prng_.between(kNoticedAfterMs, kNoticedAtLatestMs)};
    const DurationMs first{prng_.between(kNoticedAfterMs, kNoticedAtLatestMs)};
    end(*number, first, second);
  }
}

void Network::outage(DurationMs span) {
  outage_until_ = std::max(outage_until_, timeline_->now() + span);
  while (pick()) darken_one();
}

void Network::stop_answering(std::uint64_t socket, DurationMs span) {
  const Connection* connection = find(socket);
  if (connection == nullptr || !connection->up || connection->ended) return;
  const std::int64_t noticed = prng_.between(kNoticedAfterMs, kNoticedAtLatestMs);
  if (span.ms < noticed) return;
  timeline_->after({noticed}, [this, socket, span, noticed] { end(socket, {0}, {span.ms - noticed}); });
}

void Network::heal() {
  healed_ = true;
  outage_until_ = {};
}

}  // namespace jobq::sim
