// Every maximum of the protocol in one place, and the relations between them. What happens at each limit is a
// reply (docs/protocol.md), never a cut-off in silence. Limits that an operator may lower or raise are in
// broker/config.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace jobq::limits {

inline constexpr std::size_t kQueueNameBytesMax = 64;  // [A-Za-z0-9._-], not starting with '.' or '-'
inline constexpr std::size_t kTypeBytesMax = 64;       // the same letters; empty is "no type"
inline constexpr std::size_t kUniqueKeyBytesMax = 256;
inline constexpr std::size_t kHeaderBytesMax = 4096;  // names and values of one job together
inline constexpr std::size_t kHeadersMax = 64;        // number of headers of one job
inline constexpr std::size_t kErrorTextBytesMax = 4096;
inline constexpr std::size_t kNameBytesMax = 128;  // worker name, host, build

inline constexpr std::size_t kBodyBytesDefault = std::size_t{1} << 20;
inline constexpr std::size_t kBodyBytesMax = std::size_t{64} << 20;

// One message is one frame. A message carries at most this many jobs, groups or outcomes.
inline constexpr std::size_t kJobsPerMessageMax = 10'000;
inline constexpr std::size_t kMessageBytesDefault = std::size_t{8} << 20;
inline constexpr std::size_t kMessageBytesMax = kBodyBytesMax + (std::size_t{1} << 20);
inline constexpr std::size_t kNestingMax = 8;  // arrays in arrays, for what is skipped unread

inline constexpr int kPriorityMax = 9;
inline constexpr int kPriorityDefault = 5;
inline constexpr int kPriorities = kPriorityMax + 1;

inline constexpr std::uint32_t kMaxAttemptsMax = 1000;
inline constexpr std::int64_t kDelayMsMax = std::int64_t{10} * 365 * 24 * 3600 * 1000;  // ten years
inline constexpr std::uint32_t kRunMsMax = 7U * 24 * 3600 * 1000;                       // a week
inline constexpr std::uint32_t kCreditJobsMax = 10'000;
inline constexpr std::size_t kQueuesPerWorkerMax = 1000;
inline constexpr std::size_t kTypesPerWorkerMax = 200;
inline constexpr std::uint32_t kWeightMax = 100;

// Resend identity: what the broker keeps per producer.
inline constexpr std::size_t kOpenRequestsMax = 10'000;
inline constexpr std::int64_t kProducerMemoryMs = std::int64_t{24} * 3600 * 1000;

inline constexpr std::size_t kAdminParamsMax = 64;
inline constexpr std::size_t kPageMax = 1000;  // rows in one page of a listing

static_assert(kBodyBytesDefault <= kBodyBytesMax);
static_assert(kBodyBytesDefault + kHeaderBytesMax < kMessageBytesDefault);
static_assert(kBodyBytesMax < kMessageBytesMax);
static_assert(kHeaderBytesMax + kUniqueKeyBytesMax < 65536, "lengths in the job record are 16 bits");

}  // namespace jobq::limits
