#include "broker/store/keys.hpp"

namespace jobq::lmdb {

std::optional<JobId> parse_job_key(std::string_view key) {
  if (key.size() != 8) return std::nullopt;
  return JobId{get_big_endian<std::uint64_t>(key.data())};
}

std::optional<std::uint64_t> parse_block_key(std::string_view key) {
  if (key.size() != 8) return std::nullopt;
  return get_big_endian<std::uint64_t>(key.data());
}

std::optional<std::uint32_t> parse_number_key(std::string_view key) {
  if (key.size() != 4) return std::nullopt;
  return get_big_endian<std::uint32_t>(key.data());
}

std::optional<Lane> parse_lane_key(std::string_view key) {
  // Lanes are kept in arrays by their priority.
  if (key.size() != 9 || static_cast<std::uint8_t>(key[8]) > limits::kPriorityMax) return std::nullopt;
  return Lane{.queue = get_big_endian<std::uint32_t>(key.data()),
              .type = get_big_endian<std::uint32_t>(key.data() + 4),
              .priority = static_cast<std::uint8_t>(key[8])};
}

std::optional<LaneRange> parse_lane_index_key(std::string_view key) {
  if (key.size() != 17) return std::nullopt;
  const auto lane = parse_lane_key(key.substr(0, 9));
  if (!lane) return std::nullopt;
  return LaneRange{.lane = *lane, .range = get_big_endian<std::uint64_t>(key.data() + 9)};
}

std::optional<TimerKey> parse_timer_key(std::string_view key) {
  if (key.size() != 18) return std::nullopt;
  const auto clock = static_cast<std::uint8_t>(key[0]);
  const auto kind = static_cast<std::uint8_t>(key[17]);
  if (clock > static_cast<std::uint8_t>(Clock::wall) ||
      kind > static_cast<std::uint8_t>(TimerKind::unique_hold)) {
    return std::nullopt;
  }
  return TimerKey{.clock = static_cast<Clock>(clock),
                  .at = from_sortable(get_big_endian<std::uint64_t>(key.data() + 1)),
                  .job = JobId{get_big_endian<std::uint64_t>(key.data() + 9)},
                  .kind = static_cast<TimerKind>(kind)};
}

std::optional<QueueJob> parse_dead_key(std::string_view key) {
  if (key.size() != 12) return std::nullopt;
  return QueueJob{.queue = get_big_endian<std::uint32_t>(key.data()),
                  .job = JobId{get_big_endian<std::uint64_t>(key.data() + 4)}};
}

std::optional<ProducerSequence> parse_answer_key(std::string_view key) {
  if (key.size() != 24) return std::nullopt;
  ProducerSequence row;
  std::memcpy(row.producer.data(), key.data(), row.producer.size());
  row.sequence = get_big_endian<std::uint64_t>(key.data() + 16);
  return row;
}

}  // namespace jobq::lmdb
