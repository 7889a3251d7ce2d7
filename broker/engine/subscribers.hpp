// The connected sessions that serve a queue, in the order of their numbers: a round goes over all of them each time that
// something is ready, and there may be thousands. Pointers are SessionTable's. Not thread-safe.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "broker/engine/session_table.hpp"

namespace jobq {

class Subscribers {
 public:
  using Place = std::vector<Session*>::const_iterator;

  // False: it serves the queue already.
  bool insert(Session* session) {
    const auto place = std::ranges::lower_bound(sessions_, session->number, {}, number_of);
    if (place != sessions_.end() && (*place)->number == session->number) return false;
    sessions_.insert(place, session);
    return true;
  }
  void erase(SessionNo number) {
    const auto place = std::ranges::lower_bound(sessions_, number, {}, number_of);
    if (place != sessions_.end() && (*place)->number == number) sessions_.erase(place);
  }

  [[nodiscard]] Place begin() const { return sessions_.begin(); }
  [[nodiscard]] Place end() const { return sessions_.end(); }
  // Behind this one, which may have left: where a round goes on.
  [[nodiscard]] Place behind(SessionNo number) const {
    return std::ranges::upper_bound(sessions_, number, {}, number_of);
  }
  [[nodiscard]] std::size_t size() const { return sessions_.size(); }
  [[nodiscard]] bool empty() const { return sessions_.empty(); }

 private:
  static SessionNo number_of(const Session* session) { return session->number; }

  std::vector<Session*> sessions_;
};

}  // namespace jobq
