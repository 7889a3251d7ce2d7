// The queues: settings, counters, and per type and priority the window on what is ready.
//
// Iteration is by number or by name, never by address. Pointers hold until erase(). Not
// thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "broker/engine/lane_window.hpp"
#include "broker/engine/subscribers.hpp"
#include "broker/engine/types.hpp"
#include "libjobq/base/planted.hpp"

namespace jobq {

struct Queue;
struct Stream;

struct LaneState {
  Lane lane;
  Queue* queue = nullptr;    // whose lane it is,
  Stream* stream = nullptr;  // and among which of its streams
  std::uint64_t ready = 0;   // all of them, in the window or not
  LaneWindow window;
  bool refill_asked = false;
  bool touched = false;  // `ready` changed in this turn
};

// One queue's jobs of one type: a lane per priority, made when first needed.
struct Stream {
  TypeNo type = 0;
  std::array<std::unique_ptr<LaneState>, limits::kPriorities> lanes;
  std::uint64_t ready = 0;
  std::uint32_t ready_priorities = 0;  // a bit for each lane with ready jobs
};

struct FinishedEntry {
  JobId job;
  LeaseNo lease_no = 0;
  Exit exit = Exit::acked;
  TimeMs enqueued_at, finished_at;
  std::uint32_t failures = 0;
};

struct Queue {
  QueueNo number = 0;
  std::string name;
  QueueSettings settings;
  QueueCounters counters;
  bool touched = false;
  std::map<TypeNo, Stream> streams;
  Subscribers subscribers;
  SessionNo last_served{};  // where the round over the subscribers stands
  TimeMs granted_at{};      // when a job of it was last handed out
  std::deque<FinishedEntry> finished;

  [[nodiscard]] bool dispatchable() const {
    return (!settings.paused || JOBQ_PLANTED(pause_ignored)) && counters.ready > 0;
  }
};

class QueueTable {
 public:
  [[nodiscard]] Queue* find(QueueNo number) {
    return number < numbered_.size() ? numbered_[number] : nullptr;
  }
  [[nodiscard]] const Queue* find(QueueNo number) const {
    return number < numbered_.size() ? numbered_[number] : nullptr;
  }
  [[nodiscard]] Queue* find(std::string_view name);
  [[nodiscard]] const Queue* find(std::string_view name) const;
  // REQUIRES: neither the number nor the name is taken.
  Queue* insert(QueueNo number, std::string name);
  void erase(QueueNo number);
  [[nodiscard]] std::size_t size() const { return queues_.size(); }

  // Makes the lane if need be.
  LaneState* lane(const Lane& lane);
  [[nodiscard]] LaneState* find_lane(const Lane& lane);

  [[nodiscard]] std::map<QueueNo, Queue>& all() { return queues_; }
  [[nodiscard]] const std::map<QueueNo, Queue>& all() const { return queues_; }
  [[nodiscard]] const std::map<std::string, Queue*, std::less<>>& by_name() const { return by_name_; }

 private:
  std::map<QueueNo, Queue> queues_;
  std::map<std::string, Queue*, std::less<>> by_name_;
  std::vector<Queue*> numbered_;  // by number, which are dense
  // What comes together mostly goes into one queue, and every job asks for it.
  mutable Queue* named_last_ = nullptr;
};

}  // namespace jobq
