// The keys of every table: big-endian numbers one behind the other, so that rows sort the way they are read.
// Small values on the stack; docs/storage_format.md lists them.
//
// Decoders return nullopt for a key of another length: bytes on disk never assert.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "broker/engine/types.hpp"
#include "libjobq/base/bytes.hpp"
#include "libjobq/base/check.hpp"
#include "libjobq/base/id.hpp"

namespace jobq::lmdb {

inline constexpr std::uint64_t kBlockJobs = 256;    // ids per row of blocks and leases
inline constexpr std::uint64_t kRangeJobs = 16384;  // ids per row of lane_index

constexpr std::uint64_t block_of(JobId job) { return job.value / kBlockJobs; }
constexpr std::uint8_t bit_of(JobId job) { return static_cast<std::uint8_t>(job.value % kBlockJobs); }
constexpr std::uint64_t range_of(JobId job) { return job.value / kRangeJobs; }

// A key being built: `Capacity` bytes of room, no allocation.
template <std::size_t Capacity>
class Key {
 public:
  template <std::unsigned_integral T>
  Key& add(T value) {
    const T big = to_big_endian(value);
    return add_bytes({reinterpret_cast<const char*>(&big), sizeof big});
  }
  Key& add_bytes(std::string_view bytes) {
    JOBQ_CHECK(size_ + bytes.size() <= Capacity);
    if (!bytes.empty()) std::memcpy(bytes_.data() + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
    return *this;
  }
  operator std::string_view() const { return {bytes_.data(), size_}; }  // NOLINT(google-explicit-constructor)

 private:
  std::array<char, Capacity> bytes_;
  std::size_t size_ = 0;
};

// Instants sort as unsigned numbers; a time before 1970 (a broken wall clock) still sorts first.
constexpr std::uint64_t sortable(TimeMs time) {
  return static_cast<std::uint64_t>(time.ms) ^ (std::uint64_t{1} << 63);
}
constexpr TimeMs from_sortable(std::uint64_t bits) {
  return TimeMs{static_cast<std::int64_t>(bits ^ (std::uint64_t{1} << 63))};
}

inline Key<8> job_key(JobId job) { return Key<8>{}.add(job.value); }
inline Key<8> block_key(std::uint64_t block) { return Key<8>{}.add(block); }
inline Key<10> body_key(JobId job, std::uint16_t part) { return Key<10>{}.add(job.value).add(part); }
inline Key<4> queue_key(QueueNo queue) { return Key<4>{}.add(queue); }
inline Key<4> type_key(TypeNo type) { return Key<4>{}.add(type); }
inline Key<9> lane_key(const Lane& lane) {
  return Key<9>{}.add(lane.queue).add(lane.type).add(lane.priority);
}
inline Key<17> lane_index_key(const Lane& lane, std::uint64_t range) {
  return Key<17>{}.add(lane.queue).add(lane.type).add(lane.priority).add(range);
}
inline Key<18> timer_key(const TimerKey& timer) {
  return Key<18>{}
      .add(static_cast<std::uint8_t>(timer.clock))
      .add(sortable(timer.at))
      .add(timer.job.value)
      .add(static_cast<std::uint8_t>(timer.kind));
}
inline Key<4 + limits::kUniqueKeyBytesMax> unique_row_key(QueueNo queue, std::string_view key) {
  return Key<4 + limits::kUniqueKeyBytesMax>{}.add(queue).add_bytes(key);
}
inline Key<10> attempt_key(JobId job, std::uint16_t slot) { return Key<10>{}.add(job.value).add(slot); }
inline Key<12> dead_key(QueueNo queue, JobId job) { return Key<12>{}.add(queue).add(job.value); }
inline Key<12> finished_key(QueueNo queue, std::uint64_t seq) { return Key<12>{}.add(queue).add(seq); }
inline Key<16> producer_key(const ProducerId& producer) {
  return Key<16>{}.add_bytes({reinterpret_cast<const char*>(producer.data()), producer.size()});
}
inline Key<24> answer_key(const ProducerId& producer, std::uint64_t sequence) {
  return Key<24>{}.add_bytes({reinterpret_cast<const char*>(producer.data()), producer.size()}).add(sequence);
}

std::optional<JobId> parse_job_key(std::string_view key);
std::optional<std::uint64_t> parse_block_key(std::string_view key);
std::optional<std::uint32_t> parse_number_key(std::string_view key);  // queues, counters, types
std::optional<Lane> parse_lane_key(std::string_view key);
struct LaneRange {
  Lane lane;
  std::uint64_t range = 0;
};
std::optional<LaneRange> parse_lane_index_key(std::string_view key);
std::optional<TimerKey> parse_timer_key(std::string_view key);
struct QueueJob {
  QueueNo queue = 0;
  JobId job;
};
std::optional<QueueJob> parse_dead_key(std::string_view key);
struct ProducerSequence {
  ProducerId producer{};
  std::uint64_t sequence = 0;
};
std::optional<ProducerSequence> parse_answer_key(std::string_view key);

// Attempt history keeps the first and the last 50 of a job's attempts.
inline constexpr std::uint32_t kAttemptsHead = 50;
inline constexpr std::uint32_t kAttemptsTail = 50;
constexpr std::uint16_t attempt_slot(std::uint32_t number) {  // number: 1-based
  if (number <= kAttemptsHead) return static_cast<std::uint16_t>(number);
  return static_cast<std::uint16_t>(kAttemptsHead + 1 + (number - kAttemptsHead - 1) % kAttemptsTail);
}

}  // namespace jobq::lmdb
