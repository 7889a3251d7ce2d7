// What the broker remembers of its producers so that a repeated enqueue is the same enqueue (semantics 3):
// per producer the answers of the requests that may still be sent again. Bounded in producers, in requests
// and in time.
//
// Iteration is by producer identity. Not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "broker/engine/change.hpp"
#include "broker/engine/types.hpp"

namespace jobq {

struct Producer {
  ProducerId id{};
  TimeMs seen_at{};
  std::uint64_t lowest_open = 0;
  std::map<std::uint64_t, change::ProducerAnswer> answers;  // by sequence
  std::list<ProducerId>::iterator by_age{};
};

// Requests that were refused as a whole. Nothing of them is stored, but one that was sent twice must get one answer: the
// first says "refused, nothing is stored", and its reader does not wait for the second. In memory only, the newest
// 100,000 results: a restarted broker judges anew, because nobody can hear both it and the one before.
class RefusedRequests {
 public:
  [[nodiscard]] const change::ProducerAnswer* find(const ProducerId& producer, std::uint64_t sequence) const;
  void remember(const ProducerId& producer, change::ProducerAnswer answer);

 private:
  using Name = std::pair<ProducerId, std::uint64_t>;
  std::map<Name, change::ProducerAnswer> answers_;
  std::deque<Name> by_age_;  // oldest first
  std::size_t results_ = 0;
};

class ProducerTable {
 public:
  [[nodiscard]] Producer* find(const ProducerId& id);
  Producer* insert(const ProducerId& id, TimeMs now);
  void seen(Producer* producer, TimeMs now);
  // Drops the answers that the producer has read.
  void close_below(Producer* producer, std::uint64_t lowest_open);
  void remember(Producer* producer, change::ProducerAnswer answer);
  void erase(Producer* producer);

  [[nodiscard]] Producer* oldest();
  [[nodiscard]] std::size_t size() const { return producers_.size(); }
  [[nodiscard]] std::size_t open_requests() const { return open_requests_; }
  [[nodiscard]] const std::map<ProducerId, Producer>& all() const { return producers_; }

 private:
  std::map<ProducerId, Producer> producers_;
  std::vector<std::map<std::uint64_t, change::ProducerAnswer>::node_type> spare_;  // for the next answers
  std::list<ProducerId> by_age_;                                                   // longest not seen first
  std::size_t open_requests_ = 0;
};

}  // namespace jobq
