#include "broker/engine/queue_table.hpp"

#include <utility>

#include "libjobq/base/check.hpp"

namespace jobq {

const Queue* QueueTable::find(std::string_view name) const {
  if (named_last_ != nullptr && named_last_->name == name) return named_last_;
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return nullptr;
  named_last_ = found->second;
  return found->second;
}

Queue* QueueTable::find(std::string_view name) { return const_cast<Queue*>(std::as_const(*this).find(name)); }

Queue* QueueTable::insert(QueueNo number, std::string name) {
  const auto [place, fresh] = queues_.try_emplace(number);
  JOBQ_CHECK(fresh, "queue number {} is taken", number);
  Queue* queue = &place->second;
  queue->number = number;
  queue->name = std::move(name);
  if (numbered_.size() <= number) numbered_.resize(std::size_t{number} + 1);
  numbered_[number] = queue;
  JOBQ_CHECK(by_name_.emplace(queue->name, queue).second, "queue name {} is taken", queue->name);
  return queue;
}

void QueueTable::erase(QueueNo number) {
  const auto found = queues_.find(number);
  JOBQ_CHECK(found != queues_.end(), "queue {}", number);
  if (named_last_ == &found->second) named_last_ = nullptr;
  numbered_[number] = nullptr;
  by_name_.erase(found->second.name);
  queues_.erase(found);
}

LaneState* QueueTable::find_lane(const Lane& lane) {
  Queue* queue = find(lane.queue);
  if (queue == nullptr) return nullptr;
  const auto stream = queue->streams.find(lane.type);
  return stream == queue->streams.end() ? nullptr : stream->second.lanes[lane.priority].get();
}

LaneState* QueueTable::lane(const Lane& lane) {
  Queue* queue = find(lane.queue);
  JOBQ_CHECK(queue != nullptr, "queue {}", lane.queue);
  Stream& stream = queue->streams[lane.type];
  stream.type = lane.type;
  std::unique_ptr<LaneState>& state = stream.lanes[lane.priority];
  if (state == nullptr) {
    state = std::make_unique<LaneState>();
    state->lane = lane;
    state->queue = queue;
    state->stream = &stream;
  }
  return state.get();
}

}  // namespace jobq
